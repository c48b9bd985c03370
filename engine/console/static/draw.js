// Elements and drawings. Text from the traffic becomes text nodes only; there is no way from here to markup.

const SVG = "http://www.w3.org/2000/svg";

export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, handler] of Object.entries(value)) node.addEventListener(event, handler);
    else if (name === "class") node.className = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

function svg(tag, props = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(props)) node.setAttribute(name, String(value));
  node.append(...children);
  return node;
}

export function runs(list, marks) {
  return list.map((run) => {
    const text = run.hidden ? `⟨${run.text}⟩` : run.text;
    const kinds = [run.hidden && "hid", run.evidence.length && "ev", run.kinds.length && "pii"].filter(Boolean);
    if (!kinds.length) return document.createTextNode(text);
    const said = [
      ...run.evidence.map((i) => marks[i] && `${marks[i].detector}: ${marks[i].pattern_id}`),
      ...run.kinds,
    ].filter(Boolean).join(", ");
    const tag = run.evidence.length || run.kinds.length ? "mark" : "span";
    return el(tag, { class: kinds.join(" "), title: said || "does not show" }, text);
  });
}

export function minutes(ms) {
  const m = Math.round(Math.abs(ms) / 60000);
  if (m < 120) return `${m} min`;
  return m < 2880 ? `${Math.floor(m / 60)} h` : `${Math.floor(m / 1440)} days`;
}

export function when(iso) {
  return iso ? iso.slice(0, 16).replace("T", " ") + " UTC" : "";
}

export function number(value, digits = 2) {
  return value === null || value === undefined ? "–" : value.toFixed(digits);
}

// Scores of a session, one turn a point, in the order they came. Turns without a score break the line.
export function session(turns, here) {
  const width = 720, height = 150, left = 34, right = 12, top = 12, bottom = 26;
  const x = (i) => left + (turns.length < 2 ? 0.5 : i / (turns.length - 1)) * (width - left - right);
  const y = (score) => top + (1 - score) * (height - top - bottom);
  const worst = Math.max(...turns.map((turn) => turn.score ?? 0));
  const root = svg("svg", {
    viewBox: `0 0 ${width} ${height}`, role: "img", class: "session",
    "aria-label": `Scores of ${turns.length} turns of this session, the highest ${worst.toFixed(2)}; they stand in the table below.`,
  });
  for (const at of [0, 0.5, 1]) {
    root.append(svg("line", { x1: left, x2: width - right, y1: y(at), y2: y(at), class: "grid" }));
    const label = svg("text", { x: left - 8, y: y(at) + 4, class: "axis end" });
    label.textContent = String(at);
    root.append(label);
  }
  let path = "";
  turns.forEach((turn, i) => {
    if (turn.score === null) return;
    const joined = i && turns[i - 1].score !== null;
    path += `${joined ? "L" : "M"}${x(i).toFixed(1)} ${y(turn.score).toFixed(1)}`;
  });
  root.append(svg("path", { d: path, class: "line" }));
  const step = Math.ceil(turns.length / 14);
  turns.forEach((turn, i) => {
    const current = i === here;
    if (turn.score !== null) {
      const dot = svg("circle", { cx: x(i), cy: y(turn.score), r: current ? 7 : 4.5, class: `dot a-${turn.action}${current ? " here" : ""}` });
      const title = svg("title");
      title.textContent = `turn ${turn.turn ?? i + 1}: ${turn.action}, ${turn.score.toFixed(2)}`;
      dot.append(title);
      root.append(dot);
    }
    if (i % step === 0 || current) {
      const label = svg("text", { x: x(i), y: height - 6, class: current ? "axis middle here" : "axis middle" });
      label.textContent = String(turn.turn ?? i + 1);
      root.append(label);
    }
  });
  return root;
}
