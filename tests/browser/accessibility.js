// What is wrong with a page as it is drawn: a list of texts. See accessibility.py.
const faults = [];
const shown = (e) => e.checkVisibility({ checkVisibilityCSS: true, checkOpacity: true }) && !e.closest(".spoken, .skip");
const name = (e) => e.tagName.toLowerCase() + (e.id ? "#" + e.id : "") + " " + e.textContent.trim().slice(0, 40);

// Text against what is behind it: WCAG 2.2, 1.4.3.
const parse = (text) => { const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number); return { r, g, b, a }; };
const over = (top, under) => Object.fromEntries(["r", "g", "b"].map((c) => [c, top[c] * top.a + under[c] * (1 - top.a)]));
const behind = (e) => {
  if (!e) return { r: 255, g: 255, b: 255 };
  const own = parse(getComputedStyle(e).backgroundColor);
  return own.a === 1 ? own : over(own, behind(e.parentElement));
};
const light = (c) => [c.r, c.g, c.b].map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
  .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let node = walker.nextNode(); node; node = walker.nextNode()) {
  const e = node.parentElement;
  if (!node.textContent.trim() || ["SCRIPT", "NOSCRIPT", "OPTION"].includes(e.tagName) || !shown(e)) continue;
  const style = getComputedStyle(e);
  const back = behind(e);
  const [high, low] = [light(over(parse(style.color), back)), light(back)].sort((a, b) => b - a);
  const size = parseFloat(style.fontSize);
  const least = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
  if ((high + 0.05) / (low + 0.05) < least) faults.push("too little contrast: " + name(e) + " " + style.color + " on " + JSON.stringify(back));
}

// Headings lead through the page, one level at a time.
const levels = [...document.querySelectorAll("h1, h2, h3, h4, h5, h6")].filter((e) => e.checkVisibility()).map((e) => Number(e.tagName[1]));
if (levels.filter((level) => level === 1).length !== 1) faults.push("not one h1: " + levels);
levels.forEach((level, at) => { if (at && level > levels[at - 1] + 1) faults.push("a level is left out: " + levels); });

for (const e of document.querySelectorAll("input:not([type=hidden]), select, textarea")) {
  if (!e.labels.length && !e.getAttribute("aria-label")) faults.push("no label: " + name(e));
}
for (const e of document.querySelectorAll("th")) if (!e.textContent.trim()) faults.push("a column without a name: " + name(e.closest("tr")));
for (const e of document.querySelectorAll("table")) if (!e.querySelector("th")) faults.push("a table without heads");
const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
ids.forEach((id, at) => { if (ids.indexOf(id) !== at) faults.push("an id twice: " + id); });
for (const e of document.querySelectorAll("[aria-labelledby]")) if (!document.getElementById(e.getAttribute("aria-labelledby"))) faults.push("named by what is not there: " + name(e));

// Large enough for a finger: WCAG 2.2, 2.5.8.
for (const e of document.querySelectorAll("button, input:not([type=hidden]), select, textarea, a.button")) {
  if (!shown(e)) continue;
  const { width, height } = e.getBoundingClientRect();
  if (e.type !== "checkbox" && (width < 24 || height < 24)) faults.push("too small: " + name(e) + " " + width + " x " + height);
}
if (!document.documentElement.lang) faults.push("no language");
if (document.documentElement.scrollWidth > innerWidth) faults.push("wider than the window: " + document.documentElement.scrollWidth);
return [...new Set(faults)];
