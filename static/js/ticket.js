// A ticket is opened to be printed.
"use strict";

document.getElementById("print").addEventListener("click", () => window.print());
if (!navigator.webdriver) {
  window.print();
}
