"""The console: a page that shows the platform and changes what is deployed, and the data that it lives on.

It only reads the overview that somebody else keeps current. Changes go through the management routes, so that the page
can do nothing that they do not offer.
"""

from fastgshare.gateway.console.routes import ConsoleRoutes

__all__ = ["ConsoleRoutes"]
