// The live view of a table's tree. Python writes the tree's HTML; this keeps open what the reader opened when
// the table changes, and adds two buttons. The twin in a report is the same HTML without this file.

function render({ model, el }) {
  const tools = document.createElement("div");
  tools.className = "pwb-tools";
  const body = document.createElement("div");
  el.append(tools, body);

  const nodes = () => body.querySelectorAll("details[data-entry]");
  for (const [label, open] of [["open all", true], ["close all", false]]) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = label;
    button.addEventListener("click", () => nodes().forEach((node) => { node.open = open; }));
    tools.append(button);
  }

  const draw = () => {
    const chosen = new Map(Array.from(nodes(), (node) => [node.dataset.entry, node.open]));
    body.innerHTML = model.get("html");
    for (const node of nodes()) {
      node.open = chosen.get(node.dataset.entry) ?? node.open;
    }
  };
  model.on("change:html", draw);
  draw();
  return () => model.off("change:html", draw);
}

export default { render };
