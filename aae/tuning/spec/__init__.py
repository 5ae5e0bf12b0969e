"""What a sweep file says, composed once and checked. Knows no Ray and no running study."""
