"""A walk through MLflow's own interface, by clicks, past one of each thing that it shows."""

from .interface import click, component, holding, saying, seen


class Walk:
    """Clicks, waits for what should appear, and takes a picture of each page."""

    def __init__(self, browser, url, things, pictures):
        self.browser = browser
        self.url = url
        self.things = things
        self.pictures = pictures
        self.pages = {}

    def name(self, what):
        return self.things.name(what)

    def click(self, *elements):
        for element in elements:
            click(self.browser, element)

    def arrive(self, page, *texts):
        """Waits until a page shows these texts and has nothing more to load."""
        for text in texts:
            self.browser.wait_for_text(text)
        self.browser.wait_until_quiet()
        self.pages[page] = seen(self.browser)
        self.browser.screenshot(self.pictures / f"{page}.png")


def experiments(walk):
    walk.browser.open(walk.url + "/#/experiments")
    walk.arrive("experiments", walk.name("experiment"))
    walk.click(component("mlflow.assistant.chat_panel.close"))
    walk.click(saying(walk.name("experiment")))
    walk.arrive("experiment", "Detect Issues in Your Traces", "Latency")
    walk.click(saying("Got it"))


def runs(walk):
    walk.click(saying("Training runs"))
    walk.arrive("runs", walk.name("run"), walk.name("other-run"))
    walk.click(saying(walk.name("run")))
    walk.arrive("run", "depth", "loss")
    walk.click(saying("Model metrics"))
    walk.arrive("run-metrics", "loss")
    walk.click(saying("Artifacts"))
    walk.arrive("run-artifacts", "hello.txt")
    walk.click(holding("hello.txt"))
    walk.arrive("run-artifact", walk.name("run") + " says hello")
    walk.click(saying(walk.name("experiment")))


def traces(walk):
    walk.click(saying("Traces"))
    walk.arrive("traces", walk.name("question"))
    walk.click(holding(walk.name("question")))
    walk.arrive("trace", walk.name("inner"))
    walk.click(holding(walk.name("inner")))
    walk.arrive("span", "42")
    walk.browser.open(f"{walk.url}/#/experiments/{walk.things.experiment}/traces")
    walk.arrive("traces-again", walk.name("question"))
    walk.click(saying("Sessions"))
    walk.arrive("sessions", "The Sessions view has moved")
    walk.click(saying("View Sessions in Traces tab →"))
    walk.arrive("sessions-in-traces", walk.name("session"))


def evaluation(walk):
    walk.click(saying("Judges"))
    walk.arrive("judges", "Add a judge")
    walk.click(saying("Review"))
    walk.arrive("review", "New queue")
    walk.click(saying("Datasets"))
    walk.arrive("datasets", walk.name("dataset"))
    walk.click(saying(walk.name("dataset")))
    walk.arrive("dataset", walk.name("row"))
    walk.click(saying("Evaluation runs"))
    walk.arrive("evaluation-runs", walk.name("other-run"))


def prompts(walk):
    walk.click(saying("Playground"))
    walk.arrive("playground", "Add message")
    walk.click(saying("Prompts"))
    walk.arrive("experiment-prompts", walk.name("prompt"))
    walk.click(saying("Agent versions"))
    walk.arrive("logged-models", walk.name("logged-model"))
    walk.click(saying(walk.name("logged-model")))
    walk.arrive("logged-model", walk.name("run"))
    walk.browser.open(f"{walk.url}/#/prompts")
    walk.arrive("prompts", walk.name("prompt"))
    walk.click(saying(walk.name("prompt")))
    walk.arrive("prompt", walk.name("prompt"), "still greets")


def models(walk):
    walk.click(holding("Model training"))
    walk.arrive("model-training", "Model registry")
    walk.click(saying("Models"))
    walk.arrive("experiment-models", walk.name("logged-model"))
    walk.click(saying("Model registry"))
    walk.arrive("models", walk.name("model"))
    walk.click(saying("Try it now"))
    walk.click(saying(walk.name("model")))
    walk.arrive("model", walk.name("model-description"))
    walk.click(saying("Version 1"))
    walk.arrive("model-version", walk.name("version-description"))


CHAPTERS = [experiments, runs, traces, evaluation, prompts, models]


def through(walk):
    for chapter in CHAPTERS:
        chapter(walk)
