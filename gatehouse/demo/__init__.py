"""The demo: a whole street on one machine, with a camera scene, a thermometer and a gate that are simulated."""
