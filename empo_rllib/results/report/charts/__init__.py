"""Charts as SVG text. Colours, dashes and fonts are classes of templates/report.css."""
