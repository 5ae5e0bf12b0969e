"""Real searches: the numbers of their table, of repeats whose scores are known."""

from benchmarks.real_searches import summary


def test_a_search_is_better_where_what_it_chose_has_the_lower_mean_error_when_trained_again():
    def line(seed, ours, plain, random):
        found = {"ours": ours, "plain": plain, "random": random}
        return {"seed": seed, "minutes": 4} | {name: {"trials": 10 + seed, "again": [of - 0.01, of + 0.01]} for name, of in found.items()}

    said = summary([line(0, 0.16, 0.18, 0.16), line(1, 0.18, 0.17, 0.20), line(2, 0.17, 0.21, 0.21)])
    assert said[0] == "3 repeats (seeds 0, 1, 2) of 4 min" and said[1] == "ours: 17.00 %, 11 trials"
    assert said[2].startswith("plain: 18.67 %, 11 trials; ours is better in 2 of 3, by 1.67 points (-4.58 to 7.92")
    assert "ours is better in 2.5 of 3, by 2.00 points" in said[3]


def test_a_search_that_chose_nothing_is_the_worse_one():
    """Seen to fail: its repeat ended the summary with a traceback."""
    scored = {"trials": 3, "again": [0.5, 0.7]}
    said = summary([{"seed": seed, "minutes": 4, "ours": scored, "plain": scored, "random": {"trials": 0}} for seed in (0, 1)])
    assert "ours is better in 2 of 2" in said[3] and said[3].startswith("random: 100.00 %, 0 trials")
