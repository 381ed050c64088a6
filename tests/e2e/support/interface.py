"""Hands for MLflow's web interface: real mouse and keyboard events, as its widgets want them."""

import json
import time

CENTRE = """(() => {{
  const element = {element};
  if (!element) return null;
  element.scrollIntoView({{block: 'center'}});
  const box = element.getBoundingClientRect();
  return box.width ? JSON.stringify([box.x + box.width / 2, box.y + box.height / 2]) : null;
}})()"""


def component(identifier):
    return f"document.querySelector('[data-component-id={json.dumps(identifier)}]')"


def labelled(beginning):
    return f"document.querySelector('[aria-label^={json.dumps(beginning)}]')"


def saying(text, roles="button, a, [role=tab], [role=menuitem], [role=option]"):
    """The last element of these kinds with this text: the one in the topmost dialog."""
    said = f"element.innerText.trim() === {json.dumps(text)}"
    return f"[...document.querySelectorAll({json.dumps(roles)})].filter(element => {said}).pop()"


def option(text):
    said = f"element.innerText.includes({json.dumps(text)})"
    return f"[...document.querySelectorAll('[role=option]')].find(element => {said})"


def holding(text):
    """The innermost element whose text has this in it, whatever kind of element it is."""
    has = f"element.innerText?.includes({json.dumps(text)})"
    return f"[...document.querySelectorAll('body *')].filter(element => {has}).pop()"


def evaluate(browser, expression):
    return browser.call("Runtime.evaluate", expression=expression)["result"].get("value")


def click(browser, element, seconds=30):
    """Clicks the middle of an element as soon as it is there and holds still."""
    deadline = time.monotonic() + seconds
    before = None
    while True:
        place = evaluate(browser, CENTRE.format(element=element))
        if place and place == before:
            break
        assert time.monotonic() < deadline, f"{element} is not there: {browser.text()}"
        before = place
        time.sleep(0.2)
    x, y = json.loads(place)
    for event, button in [("mouseMoved", "none"), ("mousePressed", "left"), ("mouseReleased", "left")]:
        browser.call(
            "Input.dispatchMouseEvent", type=event, x=x, y=y, button=button, clickCount=1
        )


def type_into(browser, element, text):
    click(browser, element)
    browser.call("Input.insertText", text=text)


def wait_until_gone(browser, element, seconds=30):
    deadline = time.monotonic() + seconds
    while evaluate(browser, f"Boolean(({element})?.getBoundingClientRect().width)"):
        assert time.monotonic() < deadline, f"{element} is still there: {browser.text()}"
        time.sleep(0.2)


def seen(browser):
    """Everything that a page says, in its text, its fields and its addresses."""
    return evaluate(browser, "document.documentElement.outerHTML + document.body.innerText")
