"""The first screen of the page and its links."""

from stages.leaderboard import front


def test_the_front_answers_and_links(board):
    result = board[0]
    text = front.answers(result)
    assert [
        title for title in ("What was predicted?", "How well?", "Against what?", "May I believe it?") if title in text
    ]
    assert "Run times: made up." in text and "90% interval" in text and "Not covered" in text
    score = result.scores.filter(split="test", collection="mean", member="blend")["score"][0]
    assert f"<strong>{score:.3f}</strong>" in text
    links = front.links(result)
    assert 'href="gnn-tile-xla.html"' in links and 'href="configuration-layout-xla-random.html"' in links
    assert links.startswith('<p class="pages">New here? Read <a href="configuration-layout-xla-random.html">')
    assert 'href="configuration-tile-xla.html"' in links and 'href="leaderboard.html"' not in links


def test_the_front_without_test_scores_says_that_valid_flatters(run):
    text = front.answers(run(solution=None, programs=None))
    assert "which flatters" in text and "Run times" not in text and "of 1 on valid" in text
