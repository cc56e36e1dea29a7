"""Django's MySQL backend, with a pulse: see `waimai.infra.pulse`."""
