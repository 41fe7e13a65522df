"""`doctor`: what is wrong with an environment, before anyone trains in it.

    examine.py        an experiment -> Report: the order of the examinations
    spaces.py         agents, metadata and spaces, before anything is played
    episode.py        one episode, whose every reset and step is checked
      transitions.py      what a reset or step returned: agents, rewards, ends, infos
    play.py           episodes of a random policy: lengths, returns, what never happens
    repeat.py         the same seed, the same episode; copies that leave each other alone
    times.py          where the time of a step goes
    suggestions.py    settings that follow from what was measured
    report.py         everything found, as plain data; table.py shows it on a terminal

    kinds.py          every kind of finding: its level, the rule, the cure
    findings.py       what was found; places.py finds the line to change
    subject.py        the environment under examination: calls are timed and bounded
    limits.py         how long an examination may take

Nothing here imports Ray or torch.
"""
