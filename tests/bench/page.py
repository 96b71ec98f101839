"""The page: each table, and the plots where figures have a shape."""

import html
import io
import statistics

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.fonttype"] = "none"
matplotlib.rcParams["svg.hashsalt"] = "courierfs"
from matplotlib import pyplot  # noqa: E402  pylint: disable=wrong-import-position

STYLE = ("body{font:16px/1.4 sans-serif;max-width:72em;margin:2em auto;padding:0 1em}"
         "table{border-collapse:collapse}td,th{padding:.2em .8em;text-align:right}"
         "td:first-child{text-align:left}tr:nth-child(even){background:#eee}"
         ".spread{color:#777;font-size:80%}svg{max-width:100%;height:auto}")


def _svg(figure):
    out = io.StringIO()
    figure.savefig(out, format="svg", bbox_inches="tight")
    pyplot.close(figure)
    text = out.getvalue()
    return text[text.index("<svg"):]


def _folder_size(figures):
    """1000 of '1,000 messages'; None for other titles."""
    words = figures.title.split()
    return int(words[0].replace(",", "")) if words[1:] == ["messages"] else None


def ratios_by_size(all_figures):
    """One small plot for each operation: ratio by folder size, a line for each side."""
    folders = sorted((size, f) for f in all_figures if (size := _folder_size(f)))
    if len(folders) < 2:
        return None
    names = list(folders[0][1].seconds)
    columns = 4
    rows = -(-len(names) // columns)
    figure, axes = pyplot.subplots(rows, columns, figsize=(14, 2.6 * rows), squeeze=False)
    for axis in axes.flat[len(names):]:
        axis.set_visible(False)
    for axis, name in zip(axes.flat, names):
        for side in folders[0][1].sides():
            points = [(size, ratio) for size, f in folders
                      if (ratio := f.ratio(name, side)) is not None]
            axis.plot(*zip(*points), marker="o", markersize=3, label=side)
        axis.axhline(1, color="#888", linewidth=0.8)
        axis.set(title=name, xscale="log", yscale="log")
        axis.title.set_fontsize(9)
    axes.flat[0].legend(fontsize=7)
    figure.suptitle("ratio to native Dovecot, by messages in the folder")
    figure.tight_layout()
    return figure


def calls_by_operation(all_figures):
    """Bars: calls on the store and requests to the mount of each operation."""
    sized = [(size, f) for f in all_figures if (size := _folder_size(f))]
    if not sized:
        return None
    figures = sorted(sized, key=lambda pair: pair[0])[min(1, len(sized) - 1)][1]
    names = [name for name in figures.counts if figures.count(name, "courierfs", "calls on the store")]
    figure, axis = pyplot.subplots(figsize=(12, 0.35 * len(names) + 1))
    for place, (side, what) in enumerate((("courierfs", "calls on the store"),
                                          ("courierfs", "requests to the mount"),
                                          ("plain", "requests to the mount"))):
        axis.barh([i + 0.27 * place for i in range(len(names))],
                  [figures.count(name, side, what) or 0 for name in names], 0.25,
                  label=f"{side}: {what}")
    axis.set_yticks([i + 0.27 for i in range(len(names))], names)
    axis.invert_yaxis()
    axis.set(xscale="log", title=f"{figures.title}: calls and requests of one operation")
    axis.legend(fontsize=8)
    return figure


def memory_by_messages(all_figures):
    """The daemon's memory as it comes to know messages."""
    points = next((f.curve for f in all_figures if f.curve), None)
    if points is None:
        return None
    figure, axis = pyplot.subplots(figsize=(9, 4))
    axis.plot([p["messages"] for p in points[:-1]],
              [p["resident_kib"] / 1024 for p in points[:-1]], label="resident")
    axis.plot([p["messages"] for p in points[:-1]],
              [p["state_bytes"] / 2**20 for p in points[:-1]], label="state directory")
    axis.plot([points[-1]["messages"]], [points[-1]["resident_kib"] / 1024], "o",
              label="resident, after the kernel forgot")
    axis.set(xlabel="messages looked at", ylabel="MiB", ylim=(0, None))
    axis.legend()
    return figure


def _table(figures):
    sides = figures.sides()
    out = [f"<h2>{html.escape(figures.title)}</h2>"]
    if figures.seconds:
        head = "".join(f"<th>{html.escape(side)}" for side in [f"{figures.base}, s", *sides])
        out.append(f"<table><tr><th>{head}")
    for operation, row in figures.seconds.items():
        base = row.get(figures.base)
        out.append(f"<tr><td>{html.escape(operation)}<td>"
                   f"{f'{statistics.median(base):.4f}' if base else '-'}")
        for side in sides:
            ratios = figures.ratios(operation, side)
            out.append(f"<td>{statistics.median(ratios):.2f} <span class=spread>"
                       f"{min(ratios):.2f}-{max(ratios):.2f}</span>" if ratios else "<td>-")
    if figures.seconds:
        out.append("</table>")
    for what, fact in figures.facts.items():
        out.append(f"<p>{html.escape(what)}: {html.escape(str(fact))}</p>")
    return "".join(out)


PLOTS = {
    "ratios": ratios_by_size,
    "calls": calls_by_operation,
    "memory": memory_by_messages,
}


def write(directory, all_figures, about):
    """index.html and each plot as a file of its own, in DIRECTORY."""
    body = [f"<h1>courierfs: what it costs</h1><p>{html.escape(about)}</p>"]
    for name, draw in PLOTS.items():
        figure = draw(all_figures)
        if figure is None:
            continue
        svg = _svg(figure)
        (directory / f"{name}.svg").write_text(svg, encoding="utf-8")
        body.append(svg)
    body += [_table(figures) for figures in all_figures]
    (directory / "index.html").write_text(
        f"<!doctype html><meta charset=utf-8><title>courierfs bench</title><style>{STYLE}</style>"
        + "\n".join(body), encoding="utf-8")
