"""The wire protocol from the host's side: frames, requests, a device behind a link."""
