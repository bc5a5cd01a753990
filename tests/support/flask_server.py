"""Flask's development server before a folder: ``python -m tests.support.flask_server FOLDER``."""

from __future__ import annotations

import logging
from pathlib import Path

import click
from flask import Flask, Response, send_from_directory
from werkzeug.serving import make_server


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(folder: Path) -> None:
    """Serve FOLDER as ``flask run`` does, until ended."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app = Flask(__name__)

    def image(name: str) -> Response:
        return send_from_directory(folder.absolute(), name)

    app.add_url_rule("/<name>", view_func=image)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    click.echo(f"http://127.0.0.1:{server.port}")
    server.serve_forever()


if __name__ == "__main__":
    main()
