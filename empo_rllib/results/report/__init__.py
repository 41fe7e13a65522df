"""One HTML file that tells all about runs: reads run folders, writes nothing into them.

runs.py         run folders -> checked, plain data
play.py         checkpoints -> evaluations and watched episodes
sections/       those -> what each section holds (`parts.py`)
charts/         numbers -> SVG
page.py         sections -> HTML, by templates/
"""
