"use strict";
// Charts of the report; every figure comes from `data`, which is result.json.
const fmt = new Intl.NumberFormat(lang === "fr" ? "fr-FR" : "en-GB", { maximumSignificantDigits: 4 });
const num = v => v == null ? "-" : fmt.format(v);
const blue = "#1f5fbf", red = "#c0281e", grey = "#8a94a6", green = "#1d8a3c", amber = "#b07600";

function line(label, stroke, more) {
  return Object.assign({ label, stroke, width: 2, points: { show: false }, value: (u, v) => num(v) }, more);
}
function axes(x, y) {
  const common = { grid: { stroke: "#e6eaf0" }, ticks: { stroke: "#cdd4df" } };
  return [
    Object.assign({ label: x, values: (u, vs) => vs.map(num) }, common),
    Object.assign({ label: y, size: 70, values: (u, vs) => vs.map(num) }, common),
  ];
}
function plot(id, opts, columns) {
  const at = typeof id === "string" ? document.getElementById(id) : id;
  opts = Object.assign({ width: Math.min(1000, document.body.clientWidth - 10), height: 260, scales: { x: { time: false } } }, opts);
  new uPlot(opts, columns, at);
}

// bands paints the stretches in which a breaker was not closed, behind the lines.
function bands(samples, accounts) {
  return u => {
    for (let i = 0; i < samples.length; i++) {
      const states = samples[i].breakers;
      if (!states) continue;
      const from = u.valToPos(i ? samples[i - 1].t : 0, "x", true), to = u.valToPos(samples[i].t, "x", true);
      let half = 0, open = 0;
      for (const s in states) { half = Math.max(half, states[s][0]); open = Math.max(open, states[s][1]); }
      for (const [n, colour] of [[half, "230,160,0"], [open, "200,40,30"]]) {
        if (!n) continue;
        u.ctx.fillStyle = `rgba(${colour},${0.12 + 0.28 * Math.min(1, n / accounts)})`;
        u.ctx.fillRect(from, u.bbox.top, Math.max(1, to - from), u.bbox.height);
      }
    }
  };
}

// stepAt is a sample's value at a time: the last one seen before it.
function stepAt(samples, t, field) {
  let v = samples.length ? samples[0][field] : 0;
  for (const s of samples) { if (s.t > t) break; v = s[field]; }
  return v || null;
}

function rateOf(samples, field) {
  return samples.map((s, i) => {
    let j = i;
    while (j > 0 && s.t - samples[j].t < 2) j--;
    const span = s.t - samples[j].t;
    return span > 0 ? (s[field] - samples[j][field]) / span : null;
  });
}

function showRound(d) {
  for (const id of ["throughput", "calls", "backlog"]) document.getElementById(id).replaceChildren();
  const t = d.timeline, s = t.samples || [], accounts = data.config.accounts;
  const x = (t.done || []).map((_, i) => (i + 0.5) * t.bucket_seconds);
  const hook = { drawClear: [bands(s, accounts)] };
  const top = Math.max(...t.done, 1);
  plot("throughput", {
    hooks: hook, axes: axes(words.seconds, words.done),
    series: [line(words.seconds), line(words.done, blue, { fill: "rgba(31,95,191,.12)" }), line(words.meant, grey, { dash: [4, 4] }), line(words.quota, red, { width: 2 })],
    scales: { x: { time: false }, y: { range: (u, lo, hi) => [0, 1.08 * Math.min(hi, 3 * top)] } },
  }, [x, t.done, data.config.profile === "backlog" ? t.meant.map(() => null) : t.meant, x.map(v => stepAt(s, v, "quota"))]);
  const xs = s.map(v => v.t);
  if (d.segments) {
    const refused = rateOf(s, "too_fast"), calls = rateOf(s, "calls");
    plot("calls", {
      hooks: hook, axes: axes(words.seconds, words.accepted),
      series: [line(words.seconds), line(words.accepted, blue), line(words.quota, red), line(words.limit, green, { dash: [6, 3] }), line(words.refused, amber)],
      scales: { x: { time: false }, y: { range: (u, lo, hi) => [0, 1.1 * hi] } },
    }, [xs, calls.map((v, i) => v == null ? null : v - refused[i]), s.map(v => v.quota), s.map(v => v.limit), refused]);
  }
  plot("backlog", {
    hooks: hook, axes: axes(words.seconds, words.backlog), height: 200,
    series: [line(words.seconds), line(words.backlog, blue, { fill: "rgba(31,95,191,.12)" }), line(words.flight, green), line(words.doubt, amber)],
  }, [xs, s.map(v => v.sent - v.have), s.map(v => v.in_flight), s.map(v => v.in_doubt)]);
}

function showLatency(rounds) {
  const with_ = rounds.filter(d => d.latency.count > 0);
  if (!with_.length) return;
  const q = with_[0].latency.quantiles, x = q.map((_, i) => i);
  const opts = axes(words.percent, words.ms);
  opts[0].splits = () => x;
  opts[0].values = () => q.map(v => num(v[0]));
  plot("latency", {
    axes: opts, scales: { x: { time: false }, y: { distr: 3 } },
    series: [line(words.percent, null, { value: (u, v) => v == null ? "-" : num(q[v][0]) })].concat(
      with_.map((d, i) => line(`${words.round} ${i + 1}`, [blue, green, amber, red, grey][i % 5], { points: { show: true } }))),
  }, [x].concat(with_.map(d => d.latency.quantiles.map(v => Math.max(0.01, v[1])))));
}

function showSweep(at, s) {
  const div = document.createElement("div");
  at.append(div);
  const p = s.points.slice().sort((a, b) => a.x - b.x), x = p.map((_, i) => i), knee = p.findIndex(v => v.value === s.knee);
  const opts = axes(s.param, words.rate);
  opts[0].splits = () => x;
  opts[0].values = () => p.map(v => v.value);
  const rates = v => v.rounds.map(d => d.packs_per_second);
  plot(div, {
    width: Math.min(480, document.body.clientWidth - 10), height: 240, title: `${s.param} (${words.knee}: ${s.knee})`, axes: opts,
    hooks: { draw: [u => {
      if (knee < 0) return;
      const at = u.valToPos(knee, "x", true);
      u.ctx.strokeStyle = red; u.ctx.setLineDash([6, 4]); u.ctx.lineWidth = 2;
      u.ctx.beginPath(); u.ctx.moveTo(at, u.bbox.top); u.ctx.lineTo(at, u.bbox.top + u.bbox.height); u.ctx.stroke(); u.ctx.setLineDash([]);
    }] },
    scales: { x: { time: false, range: [-0.3, p.length - 0.7] }, y: { range: (u, lo, hi) => [0, 1.1 * hi] } },
    series: [line(s.param, null, { value: (u, v) => v == null ? "-" : p[v].value }), line(words.rate, blue, { points: { show: true } }),
      line(words.least, grey, { width: 1 }), line(words.most, grey, { width: 1 })],
    bands: [{ series: [3, 2], fill: "rgba(138,148,166,.2)" }],
  }, [x, p.map(v => v.rate), p.map(v => Math.min(...rates(v))), p.map(v => Math.max(...rates(v)))]);
}

const rounds = data.rounds || [];
if (rounds.length) {
  const select = document.getElementById("round");
  rounds.forEach((d, i) => select.add(new Option(`${words.round} ${i + 1}: ${num(d.packs_per_second)}/s`, i)));
  const order = rounds.map((d, i) => i).sort((a, b) => rounds[a].packs_per_second - rounds[b].packs_per_second);
  select.value = order[Math.floor((order.length - 1) / 2)]; // the median round first
  select.onchange = () => showRound(rounds[select.value]);
  showRound(rounds[select.value]);
  showLatency(rounds);
}
const sweeps = document.getElementById("sweeps");
if (sweeps) { sweeps.className = "pair"; for (const s of data.sweeps) showSweep(sweeps, s); }
