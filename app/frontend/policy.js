// What the page may load, said to the browser: nothing from elsewhere, whatever Markdown or a figure asks for. Streamlit's server
// sends no such header; a tag holds from here on.

const SOURCES = { img: "data: blob:", media: "data: blob:", font: "data:", connect: "data: blob:", frame: "data: blob:" };

export default function () {
  if (document.querySelector("meta[http-equiv=Content-Security-Policy]")) return;
  const policy = Object.assign(document.createElement("meta"), { httpEquiv: "Content-Security-Policy" });
  const loads = Object.entries(SOURCES).map(([kind, sources]) => `${kind}-src 'self' ${sources}`);
  policy.content = [...loads, "object-src 'none'", "form-action 'self'", "base-uri 'self'"].join("; ");
  document.head.append(policy);
}
