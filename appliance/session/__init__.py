"""One client link: from the handshake to the last frame, and who may register."""
