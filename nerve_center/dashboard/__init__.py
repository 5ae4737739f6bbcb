"""The pages that people look at; every view is on `blueprint`, see `dashboard.views`."""
