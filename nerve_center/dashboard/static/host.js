// The charts of a host: spans from an hour to a year, zoom by dragging, one pointer over all charts, and the processes
// of the moment pointed at. Drawn by Chart.js; what it does not know (bands, marks, the pointer) is the plugin below.
"use strict";

(() => {
  const place = document.getElementById("charts");
  if (!place || !window.Chart) return;
  const { Chart } = window;
  const YEAR_MS = 367 * 86400000;
  const LEAST_MS = 60000;
  const spans = document.getElementById("spans");
  const zoomOut = document.getElementById("zoom-out");
  const charts = new Map();
  const back = [];
  const view = { span: 3600000, since: null, until: null };  // since and until are null while it follows the present
  let data = null;
  let pointer = null;
  let drag = null;
  let wanted = 0;
  let momentTimer = null;

  const style = () => getComputedStyle(document.documentElement);
  const colour = (name) => style().getPropertyValue(name).trim();
  const PALETTE = {
    light: ["#2f81c7", "#c2590d", "#2b8a57", "#8e4fbf", "#b8322a", "#7a6a10", "#0d8a8f", "#666f7d"],
    dark: ["#5aa9ec", "#f0a25a", "#62c995", "#c08eea", "#f2817a", "#d6c255", "#52cbd0", "#a3adba"],
  };
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const tint = (hex, share) => hex + Math.round(share * 255).toString(16).padStart(2, "0");

  function bytes(value) {
    const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let unit = 0;
    while (Math.abs(value) >= 1023.95 && unit < units.length - 1) { value /= 1024; unit += 1; }
    return (unit === 0 || Math.abs(value) >= 99.95 ? value.toFixed(0) : value.toFixed(1)) + " " + units[unit];
  }
  const shown = {
    percent: (value) => value.toFixed(value > 0 && value < 9.95 ? 1 : 0) + " %",
    bytes,
    rate: (value) => bytes(value) + "/s",
    number: (value) => value.toLocaleString(undefined, { maximumFractionDigits: 2 }),
  };
  const formats = {
    day: new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" }),
    minute: new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" }),
    second: new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" }),
    full: new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" }),
  };
  const STEPS = [10, 30, 60, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 1209600, 2592000].map((s) => s * 1000);

  // Ticks on whole minutes, hours and days of the viewer's zone.
  function ticks(scale) {
    const most = Math.max(2, Math.floor(scale.width / 72));
    const step = STEPS.find((s) => (scale.max - scale.min) / s <= most) || STEPS[STEPS.length - 1];
    const shift = -new Date(scale.min).getTimezoneOffset() * 60000;
    const found = [];
    for (let t = Math.ceil((scale.min + shift) / step) * step - shift; t <= scale.max; t += step) found.push({ value: t });
    scale.ticks = found;
  }
  function tickText(value, span) {
    if (span > 3 * 86400000) return formats.day.format(value);
    if (span > 86400000) return formats.day.format(value) + " " + formats.minute.format(value);
    return (span > 600000 ? formats.minute : formats.second).format(value);
  }

  // Sizes are counted in powers of 1024, so their ticks stand on such steps.
  function sizeTicks(scale) {
    if (scale.max < 4) { scale.ticks = [{ value: 0 }]; return; }  // nothing at all, such as swap where there is none
    const most = scale.max;
    const unit = 1024 ** Math.floor(Math.log(most) / Math.log(1024));
    const rough = most / unit / 4;
    const step = unit * (rough <= 1 ? [0.25, 0.5, 1].find((s) => rough <= s) : 2 ** Math.ceil(Math.log2(rough)));
    const found = [];
    for (let value = 0; value <= most * 1.001; value += step) found.push({ value });
    scale.ticks = found;
  }

  const marksTone = (mark) => {
    if (["critical", "high", "offline"].includes(mark.tag)) return colour("--bad");
    if (["medium", "warning", "gap"].includes(mark.tag)) return colour("--warn");
    return ["cleared", "active"].includes(mark.tag) ? colour("--good") : colour("--calm");
  };

  const overlay = {
    id: "overlay",
    beforeDatasetsDraw(chart) {
      if (!data) return;
      const { ctx, chartArea: area, scales: { x } } = chart;
      const band = (since, until, fill) => {
        const left = Math.max(area.left, x.getPixelForValue(since));
        const right = Math.min(area.right, Math.max(x.getPixelForValue(until), left + 2));
        if (right <= left) return;
        ctx.fillStyle = fill;
        ctx.fillRect(left, area.top, right - left, area.bottom - area.top);
      };
      ctx.save();
      for (const [since, until] of data.late) band(since, until, tint(colour("--calm"), 0.16));
      for (const [since, until] of data.away || []) band(since, until, tint(colour("--bad"), 0.12));
      ctx.restore();
    },
    afterDatasetsDraw(chart) {
      if (!data) return;
      const { ctx, chartArea: area, scales: { x } } = chart;
      ctx.save();
      for (const mark of data.marks) {
        if (mark.t < x.min || mark.t > x.max) continue;
        const at = x.getPixelForValue(mark.t);
        ctx.strokeStyle = ctx.fillStyle = marksTone(mark);
        ctx.setLineDash([2, 3]);
        ctx.beginPath(); ctx.moveTo(at, area.top); ctx.lineTo(at, area.bottom); ctx.stroke();
        ctx.beginPath(); ctx.moveTo(at - 4, area.top); ctx.lineTo(at + 4, area.top); ctx.lineTo(at, area.top + 6); ctx.fill();
      }
      ctx.setLineDash([]);
      if (pointer !== null && pointer >= x.min && pointer <= x.max) {
        ctx.strokeStyle = colour("--quiet");
        ctx.beginPath(); ctx.moveTo(x.getPixelForValue(pointer), area.top); ctx.lineTo(x.getPixelForValue(pointer), area.bottom); ctx.stroke();
      }
      if (drag && drag.chart === chart) {
        ctx.fillStyle = tint(colour("--accent"), 0.18);
        ctx.fillRect(Math.min(drag.from, drag.to), area.top, Math.abs(drag.to - drag.from), area.bottom - area.top);
      }
      ctx.restore();
    },
  };

  function make(box) {
    const unit = box.dataset.unit;
    const stacked = "stacked" in box.dataset;
    const chart = new Chart(box.querySelector("canvas"), {
      type: "line",
      data: { datasets: [] },
      plugins: [overlay],
      options: {
        animation: false, responsive: true, maintainAspectRatio: false, parsing: false, normalized: true, spanGaps: false,
        interaction: { mode: "index", intersect: false },
        events: ["mousemove", "mouseout", "click", "touchstart", "touchmove"],
        elements: { point: { radius: 0, hitRadius: 6 }, line: { borderWidth: 1.5, tension: 0 } },
        scales: {
          x: { type: "linear", afterBuildTicks: ticks, grid: {}, ticks: { maxRotation: 0, autoSkip: false, callback: (value) => tickText(value, view.until ? view.until - view.since : view.span) } },
          y: { afterBuildTicks: unit === "bytes" || unit === "rate" ? sizeTicks : undefined, beginAtZero: true, stacked, afterFit: (scale) => { scale.width = 76; }, suggestedMax: unit === "percent" ? 10 : undefined, max: stacked ? 100 : undefined, grid: {}, ticks: { maxTicksLimit: 5, callback: (value) => shown[unit](value) } },
        },
        plugins: {
          decimation: { enabled: true, algorithm: "min-max" },
          legend: { position: "bottom", labels: { boxWidth: 10, boxHeight: 10, padding: 8 } },
          tooltip: { callbacks: { title: (items) => (items.length ? formats.full.format(items[0].parsed.x) : ""), label: (item) => item.dataset.label + ": " + (Number.isNaN(item.parsed.y) ? "–" : shown[unit](item.parsed.y)) } },
        },
      },
    });
    charts.set(box, chart);
    listen(box, chart);
    return chart;
  }

  function draw() {
    if (!data) return;
    const palette = dark.matches ? PALETTE.dark : PALETTE.light;
    let any = false;
    for (const box of place.querySelectorAll(".chart")) {
      const lines = data.groups[box.dataset.group] || [];
      box.hidden = lines.length === 0;
      if (box.hidden) continue;
      any = true;
      const chart = charts.get(box) || make(box);
      const stacked = "stacked" in box.dataset;
      const sets = lines.map((line, index) => ({
        label: line.name,
        data: data.t.map((t, row) => ({ x: t, y: line.values[row] === null ? NaN : line.values[row] })),
        borderColor: palette[index % palette.length],
        backgroundColor: stacked ? tint(palette[index % palette.length], 0.35) : palette[index % palette.length],
        fill: stacked ? (index === 0 ? "origin" : "-1") : false,
      }));
      const hidden = chart.data.datasets.filter((set, index) => !chart.isDatasetVisible(index)).map((set) => set.label);
      chart.data.datasets = sets;
      sets.forEach((set, index) => chart.setDatasetVisibility(index, !hidden.includes(set.label)));
      for (const axis of ["x", "y"]) {
        chart.options.scales[axis].grid.color = colour("--line");
        chart.options.scales[axis].ticks.color = colour("--quiet");
      }
      chart.options.plugins.legend.labels.color = colour("--text");
      chart.options.scales.x.min = data.since;
      chart.options.scales.x.max = data.until;
      chart.update("none");
    }
    document.getElementById("nothing").hidden = any;
    tell();
  }

  // The row of the data that is nearest to a time; the last one where none is asked for.
  function rowAt(time) {
    const { t } = data;
    if (time === null) return t.length - 1;
    let low = 0;
    let high = t.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (t[middle] < time) low = middle; else high = middle;
    }
    return Math.abs(t[low] - time) <= Math.abs(t[high] - time) ? low : high;
  }

  // What the pointer stands on, in words: the heads of the charts are read by those who do not see the lines.
  function tell() {
    const row = rowAt(pointer);
    for (const [box] of charts) {
      if (box.hidden) continue;
      const words = (data.groups[box.dataset.group] || []).filter((line) => line.values[row] !== null && line.values[row] !== undefined)
        .slice(0, 3).map((line) => line.name + " " + shown[box.dataset.unit](line.values[row]));
      box.querySelector("header span").textContent = box.querySelector("header span").title = words.join(", ");
      box.querySelector("canvas").setAttribute("aria-label", box.querySelector("h3").textContent + (data.t.length ? " at " + formats.full.format(data.t[row]) : "") + ": " + (words.join(", ") || "not available"));
    }
    const since = formats.full.format(data.since);
    document.getElementById("span").textContent = view.until ? since + " to " + formats.full.format(data.until) : "";
  }

  function point(time) {
    pointer = time;
    for (const [box, chart] of charts) if (!box.hidden) chart.draw();
    tell();
    clearTimeout(momentTimer);
    momentTimer = setTimeout(moment, 150);
  }

  async function moment() {
    const query = pointer === null ? "" : "?at=" + Math.round(data.t[rowAt(pointer)] || pointer);
    try {
      const answer = await fetch(place.dataset.moment + query, { cache: "no-store", redirect: "error" });
      if (!answer.ok) return;
      const part = document.getElementById("moment");
      const text = await answer.text();
      const focused = part.contains(document.activeElement) && document.activeElement.getAttribute("aria-labelledby");
      part.innerHTML = text;
      const again = focused && part.querySelector(`[aria-labelledby="${CSS.escape(focused)}"]`);
      if (again) again.focus({ preventScroll: true });
      document.dispatchEvent(new CustomEvent("dio:times", { detail: part }));
    } catch (error) { /* the page itself says when the center is away */ }
  }

  function listen(box, chart) {
    const canvas = chart.canvas;
    const inside = (event) => {
      const { left } = canvas.getBoundingClientRect();
      return Math.min(chart.chartArea.right, Math.max(chart.chartArea.left, event.clientX - left));
    };
    canvas.addEventListener("pointerdown", (event) => {
      if (event.pointerType !== "mouse" && data && chart.chartArea) point(chart.scales.x.getValueForPixel(inside(event)));
      if (event.pointerType !== "mouse" || event.button !== 0) return;
      if (event.offsetY > chart.chartArea.bottom || event.offsetY < chart.chartArea.top) return;  // the legend
      drag = { chart, from: inside(event), to: inside(event) };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!data || !chart.chartArea) return;
      if (drag && drag.chart === chart) drag.to = inside(event);
      point(chart.scales.x.getValueForPixel(inside(event)));
    });
    canvas.addEventListener("pointerup", () => {
      const done = drag;
      drag = null;
      if (!done || done.chart !== chart || Math.abs(done.to - done.from) < 8) return;
      zoom(...[done.from, done.to].sort((a, b) => a - b).map((pixel) => chart.scales.x.getValueForPixel(pixel)));
    });
    canvas.addEventListener("pointercancel", () => { drag = null; });
    canvas.addEventListener("pointerleave", (event) => {
      // A finger leaves when it is lifted; what it pointed at stays.
      if (event.pointerType === "mouse" && !drag && document.activeElement !== canvas) point(null);
    });
    canvas.addEventListener("blur", () => point(null));
    canvas.addEventListener("keydown", (event) => {
      if (!data || !data.t.length) return;
      const row = rowAt(pointer);
      const jump = event.shiftKey ? 10 : 1;
      const [since, until] = [data.since, data.until];
      const middle = pointer === null ? (since + until) / 2 : pointer;
      const moves = {
        ArrowLeft: () => point(data.t[Math.max(0, row - jump)]),
        ArrowRight: () => point(data.t[Math.min(data.t.length - 1, row + jump)]),
        Home: () => point(data.t[0]),
        End: () => point(data.t[data.t.length - 1]),
        "+": () => zoom(middle - (until - since) / 4, middle + (until - since) / 4),
        "-": () => zoom(since - (until - since) / 2, until + (until - since) / 2),
        Escape: () => goBack(),
      };
      if (!moves[event.key]) return;
      event.preventDefault();
      moves[event.key]();
    });
  }

  function zoom(since, until) {
    const wide = Math.min(Math.max(until - since, LEAST_MS), YEAR_MS);
    const middle = (since + until) / 2;
    back.push({ ...view });
    view.since = Math.round(middle - wide / 2);
    view.until = Math.round(middle + wide / 2);
    load();
  }

  function goBack() {
    if (!back.length) return;
    Object.assign(view, back.pop());
    load();
  }

  async function load() {
    const mine = ++wanted;
    zoomOut.hidden = back.length === 0;
    for (const button of spans.querySelectorAll("[data-span]")) {
      button.setAttribute("aria-pressed", String(!view.until && Number(button.dataset.span) * 1000 === view.span));
    }
    const until = view.until || Date.now();
    const since = view.since || until - view.span;
    try {
      const answer = await fetch(place.dataset.series + "?since=" + Math.round(since) + "&until=" + Math.round(until), { cache: "no-store", redirect: "error" });
      if (!answer.ok) throw new Error("HTTP " + answer.status);
      const found = await answer.json();
      if (mine !== wanted) return;
      data = found;
      draw();
      place.dataset.loaded = String(mine);
    } catch (error) { /* the page itself says when the center is away; the charts stay as they are */ }
  }

  spans.addEventListener("click", (event) => {
    const button = event.target.closest("[data-span]");
    if (!button) return;
    back.length = 0;
    Object.assign(view, { span: Number(button.dataset.span) * 1000, since: null, until: null });
    load();
  });
  zoomOut.addEventListener("click", () => {
    if (back.length === 1) spans.querySelector(`[data-span="${back[0].span / 1000}"]`).focus();  // this button goes
    goBack();
  });
  dark.addEventListener("change", draw);
  document.addEventListener("dio:fresh", () => {
    if (data && !view.until && (view.span <= 6 * 3600000 || Date.now() - data.until > view.span / 200)) load();
    if (pointer === null) moment();
  });
  load();
})();
