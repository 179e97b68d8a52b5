// A button that hears one press: from then until the page is drawn again it is disabled, before the server has answered.
// Knows the button by the class that Streamlit makes of its key.

const guards = new WeakMap();

function release(selector) {
  for (const button of document.querySelectorAll(`${selector}[data-pressed]`)) {
    delete button.dataset.pressed;
    button.ariaDisabled = null;
  }
}

export default function ({ parentElement, data }) {
  const selector = `.st-key-${CSS.escape(data.button)} button`;
  release(selector); // called whenever the server has drawn the button again
  if (!guards.has(parentElement)) {
    const guard = (event) => {
      const button = event.target.closest?.(selector);
      if (!button) return;
      if (button.dataset.pressed) {
        event.stopImmediatePropagation(); // before it comes to Streamlit's own listener, which is further in
        event.preventDefault();
      } else {
        button.dataset.pressed = "true";
        button.ariaDisabled = "true";
      }
    };
    document.addEventListener("click", guard, true);
    guards.set(parentElement, guard);
  }
  return () => {
    document.removeEventListener("click", guards.get(parentElement), true);
    guards.delete(parentElement);
    release(selector);
  };
}
