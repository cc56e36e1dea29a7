"""waimai: takeaway ordering. This package composes the apps: settings, routes, processes, commands."""
