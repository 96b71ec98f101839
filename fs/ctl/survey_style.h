/* The style sheet of the HTML report. */
#pragma once

#define SURVEY_STYLE                                                                               \
    ":root{color-scheme:light dark;--page:#f4f5f7;--card:#fff;--ink:#1a2230;--soft:#5b6676;"       \
    "--line:#dfe3e9;--track:#eef1f5;--accent:#2f6fde;--bad:#c62f3b;--warn:#b97309;--good:#1d8050;" \
    "--bad-tint:#fdecee;--warn-tint:#fdf3e1;--good-tint:#e7f5ee}"                                  \
    "@media(prefers-color-scheme:dark){:root{--page:#11151b;--card:#1a2029;--ink:#e7ebf1;"         \
    "--soft:#9aa6b6;--line:#2e3744;--track:#242c38;--accent:#6ba0f8;--bad:#f4808a;"                \
    "--warn:#e5ae52;--good:#62c795;--bad-tint:#341d22;--warn-tint:#332815;--good-tint:#172d23}}"   \
    "*{box-sizing:border-box}"                                                                     \
    "body{margin:0;background:var(--page);color:var(--ink);"                                       \
    "font:15px/1.55 system-ui,-apple-system,\"Segoe UI\",Roboto,\"Helvetica Neue\",Arial,"         \
    "\"DejaVu Sans\",sans-serif}"                                                                  \
    "main{max-width:1080px;margin:0 auto;padding:40px 24px 64px}"                                  \
    "h1{margin:2px 0 4px;font-size:30px;line-height:1.2;overflow-wrap:anywhere}"                   \
    "h2{margin:44px 0 14px;font-size:20px}"                                                        \
    "h3{margin:0 0 10px;font-size:15px;font-weight:650}"                                           \
    "p{margin:0 0 8px}.soft{color:var(--soft)}"                                                    \
    ".kicker{margin:0;color:var(--soft);font-size:13px;letter-spacing:.05em;"                      \
    "text-transform:uppercase}"                                                                    \
    ".verdict{display:flex;gap:16px;align-items:flex-start;margin:24px 0;padding:18px 22px;"       \
    "border-radius:12px;background:var(--good-tint);border:1px solid var(--good)}"                 \
    ".verdict.stop{background:var(--bad-tint);border-color:var(--bad)}"                            \
    ".verdict p{margin:2px 0 0}.verdict strong{font-size:18px}"                                    \
    ".mark{flex:none;width:32px;height:32px}"                                                      \
    ".mark circle{fill:var(--good)}.stop .mark circle{fill:var(--bad)}"                            \
    ".mark path{fill:none;stroke:var(--card);stroke-width:3;stroke-linecap:round;"                 \
    "stroke-linejoin:round}"                                                                       \
    ".tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(45%,200px),1fr));gap:"   \
    "14px}"                                                                                        \
    ".tile,.card{background:var(--card);border:1px solid var(--line);border-radius:12px}"          \
    ".tile{padding:14px 18px}"                                                                     \
    ".tile b{display:block;font-size:25px;line-height:1.25;font-weight:650;"                       \
    "font-variant-numeric:tabular-nums;white-space:nowrap}"                                        \
    ".tile span{color:var(--soft);font-size:13px}"                                                 \
    ".grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,430px),1fr));"       \
    "gap:18px}"                                                                                    \
    ".card{padding:18px 20px;min-width:0}.wide{grid-column:1/-1}"                                  \
    ".card p{margin:10px 0 0;font-size:13px;color:var(--soft)}"                                    \
    "svg{display:block;width:100%;height:auto}"                                                    \
    "svg text{fill:var(--ink);font-size:12.5px}"                                                   \
    ".bar{fill:var(--accent)}.bar.warn{fill:var(--warn)}.bar.bad{fill:var(--bad)}"                 \
    ".track{fill:var(--track)}.label,.value{text-anchor:end}.value{font-variant-numeric:tabular-"  \
    "nums}"                                                                                        \
    "svg .share,svg .tick,svg .zero text{fill:var(--soft)}.count,.tick{text-anchor:middle}"        \
    ".axis{stroke:var(--line);fill:none}.hover{fill:transparent}"                                  \
    "g:hover>.hover{fill:var(--track)}"                                                            \
    ".scroll{overflow-x:auto}"                                                                     \
    "table{width:100%;border-collapse:collapse;font-size:14px}"                                    \
    "th{padding:6px 10px;text-align:left;font-weight:600;font-size:12.5px;color:var(--soft);"      \
    "border-bottom:1px solid var(--line);white-space:nowrap}"                                      \
    "td{padding:7px 10px;border-bottom:1px solid var(--line);vertical-align:top}"                  \
    "tr:last-child td{border-bottom:0}"                                                            \
    "td:first-child,th:first-child{padding-left:0}td:last-child,th:last-child{padding-right:0}"    \
    ".part{padding-left:20px!important;color:var(--soft)}"                                         \
    "details th:first-child{width:48%}details th:nth-child(2){width:60px}"                         \
    ".n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}"                    \
    ".path{font-family:ui-monospace,\"SF Mono\",Menlo,Consolas,\"DejaVu Sans Mono\",monospace;"    \
    "font-size:12.5px;overflow-wrap:anywhere}"                                                     \
    ".meter{width:22%;min-width:90px}"                                                             \
    ".meter div{height:10px;margin-top:6px;border-radius:3px;background:var(--accent)}"            \
    ".dot{display:inline-block;width:9px;height:9px;margin-right:9px;border-radius:50%;"           \
    "background:var(--warn)}.blocks .dot{background:var(--bad)}"                                   \
    ".tag{display:inline-block;padding:1px 8px;border-radius:9px;font-size:12px;"                  \
    "color:var(--warn);background:var(--warn-tint);white-space:nowrap}"                            \
    ".blocks .tag{color:var(--bad);background:var(--bad-tint)}"                                    \
    "a{color:inherit;text-decoration-color:var(--line);text-underline-offset:3px}"                 \
    "a:hover{text-decoration-color:currentColor}"                                                  \
    ".finding{margin-bottom:14px;border-left:4px solid var(--warn)}"                               \
    ".finding.blocks{border-left-color:var(--bad)}"                                                \
    ".finding h3{display:flex;flex-wrap:wrap;gap:4px 12px;align-items:baseline;margin:0}"          \
    ".finding .advice{margin:6px 0 0;font-size:14px;color:var(--ink)}"                             \
    "details{margin-top:10px}"                                                                     \
    "summary{cursor:pointer;font-size:13px;color:var(--soft)}"                                     \
    "details table{margin-top:6px}"                                                                \
    "footer{margin-top:44px;color:var(--soft);font-size:13px}"                                     \
    "@media(max-width:560px){main{padding:24px 14px 40px}h1{font-size:24px}"                       \
    ".card{padding:14px}.meter,.level{display:none}}"                                              \
    "@media print{body{background:none}.card,.tile,.verdict{break-inside:avoid}"                   \
    "main{max-width:none;padding:0}}"
