// Draws the pictures of a report with plotly, and redraws them when a button says so.
"use strict";
(() => {
  const page = JSON.parse(document.getElementById("page-data").textContent);
  const state = {axis: page.axis, band: page.band, scale: "linear", hidden: new Set()};
  const axisFont = {size: 11, color: "#555"};
  const config = {responsive: true, displaylogo: false, toImageButtonOptions: {format: "svg"}};
  const tools = {large: ["zoom2d", "pan2d", "resetScale2d", "toImage"], small: ["resetScale2d", "toImage"],
                 wide: ["toImage"]};

  const colour = (group) => page.colours[group % page.colours.length];
  const dash = (group) => ["solid", "dash", "dot"][Math.floor(group / page.colours.length) % 3];
  const faint = (hex) => `rgba(${[1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)).join(",")},0.16)`;
  const size = (values) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

  const least = (values) => values.reduce((least, value) => Math.min(least, value), Infinity);

  // Long trainings are told in hours.
  const times = page.pictures.flatMap((picture) => (picture.lines || []).map((line) => line.axes.time?.x.at(-1) || 0));
  const inHours = size(times) > 180;
  if (inHours) page.axes.time = "hours of training";
  const place = (x) => state.axis === "time" && inHours ? x.map((minutes) => minutes / 60) : x;

  // The lines of a picture, each with its band, which is two more lines and what is between them.
  function curves(picture) {
    const traces = [], isLog = state.scale === "log" && picture.is_positive;
    const floor = isLog ? least(picture.lines.flatMap((line) => line.axes[state.axis]?.y || [])) : -Infinity;
    const number = picture.is_share ? ".1%" : ",.5~g";
    for (const line of picture.lines) {
      const curve = line.axes[state.axis], color = colour(line.group);
      if (!curve || state.hidden.has(line.group)) continue;
      const x = place(curve.x), band = curve.bands?.[state.band]?.map((edge) => edge.map((y) => Math.max(y, floor)));
      if (band) {
        const edge = {x, mode: "lines", hoverinfo: "skip", line: {width: 0, color}};
        traces.push({...edge, y: band[0]}, {...edge, y: band[1], fill: "tonexty", fillcolor: faint(color)});
      }
      traces.push({
        x, y: curve.y, name: page.groups[line.group], line: {color, dash: dash(line.group), width: 2},
        mode: x.length < 2 ? "markers" : x.length < 40 ? picture.mode : "lines", marker: {size: 4, color},
        customdata: band ? x.map((_, at) => [band[0][at], band[1][at]]) : undefined,
        hovertemplate: `%{y:${number}}` + (band ? ` [%{customdata[0]:${number}}, %{customdata[1]:${number}}]` : ""),
      });
    }
    return traces;
  }

  function curveLayout(picture, traces, isSmall) {
    const words = [picture.note, traces.some((trace) => trace.fill) ? `band: ${page.bands[state.band]}` : ""];
    const values = traces.flatMap((trace) => trace.y), isLarge = size(values) >= 1e4;
    const isLog = state.scale === "log" && picture.is_positive;
    const decades = Math.log10(size(values) / least(values));
    const ticks = {dtick: decades < 2 ? "D2" : Math.ceil(decades / 6)}, share = {range: [-0.02, 1.02]};
    return {
      title: {text: picture.title, subtitle: {text: words.filter(Boolean).join(isSmall ? "<br>" : "; ")}},
      hovermode: traces.length > 24 ? "closest" : "x unified",
      xaxis: {title: {text: page.axes[state.axis]}, tickformat: state.axis === "time" ? "" : "~s",
              hoverformat: state.axis === "time" ? ",.2f" : ",.0f", rangemode: "tozero"},
      yaxis: {type: isLog ? "log" : "linear", tickformat: picture.is_share ? ".0%" : isLarge ? "~s" : "~g",
              ...(isLog ? ticks : picture.is_share ? share : {})},
    };
  }

  function draw(picture, element) {
    const isCurves = "lines" in picture;
    const traces = isCurves ? curves(picture) :
      picture.traces.filter((trace) => !state.hidden.has(trace.group)).map((trace) => ({...trace}));
    const kind = ["small", "large", "wide"].find((name) => element.classList.contains(name));
    const isSmall = kind === "small";
    const special = isCurves ? curveLayout(picture, traces, isSmall) : structuredClone(picture.layout);
    const lines = special.title ? 1 + (special.title.subtitle?.text || "").split("<br>").filter(Boolean).length : 0;
    const grid = {gridcolor: "#e8e8e8", zerolinecolor: "#ccc", automargin: true};
    const layout = {
      showlegend: false, font: {family: "system-ui, sans-serif", size: 12, color: "#222"}, height: isSmall ? 250 : 350,
      margin: {l: 46, r: 12, t: lines ? 18 + 15 * lines : 16, b: 40}, hoverlabel: {namelength: 40, font: {size: 11}},
      paper_bgcolor: "#fff", plot_bgcolor: "#fff", uirevision: `${state.axis} ${state.scale}`, ...special,
    };
    layout.title = {x: 0, xref: "paper", xanchor: "left", y: 1, pad: {t: 4}, yref: "container", yanchor: "top",
                    ...layout.title, font: {size: isSmall ? 13 : 15}};
    if (layout.title.subtitle) layout.title.subtitle.font = {size: 10.5, color: "#666"};
    for (const name of ["xaxis", "yaxis"]) {
      layout[name] = {tickfont: axisFont, ...grid, ...layout[name]};
      if (layout[name].title) layout[name].title = {font: axisFont, standoff: 6, ...layout[name].title};
    }
    return Plotly.react(element, traces, layout, {...config, modeBarButtons: [tools[kind]]});
  }

  function drawAll() {
    for (const button of document.querySelectorAll("nav button")) {
      const {group, choice, value} = button.dataset;
      const isOn = group === undefined ? state[choice] === value : !state.hidden.has(Number(group));
      button.setAttribute("aria-pressed", isOn);
    }
    return Promise.all(page.pictures.map((picture, at) => draw(picture, document.getElementById(`picture-${at}`))));
  }

  function choose(button) {
    const {group, choice, value} = button.dataset;
    if (group === undefined) state[choice] = value;
    else if (!state.hidden.delete(Number(group))) state.hidden.add(Number(group));
    drawAll();
  }

  // A second click soon after the first shows this group only, or all again.
  function single(button) {
    const own = Number(button.dataset.group), others = page.groups.map((_, at) => at).filter((at) => at !== own);
    const isAlone = others.every((at) => state.hidden.has(at));
    state.hidden = new Set(isAlone ? [] : others);
    drawAll();
  }

  for (const button of document.querySelectorAll("nav button")) {
    button.addEventListener("click", () => choose(button));
    if (button.dataset.group !== undefined) button.addEventListener("dblclick", () => single(button));
  }
  drawAll().then(() => document.body.classList.add("drawn"));
})();
