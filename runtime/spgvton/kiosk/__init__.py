"""The kiosk: a web page, a catalogue of garments and the operations around a mirror that runs for months."""
