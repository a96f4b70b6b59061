"""The gateway: live points to subscribers over WebSocket, and points from anybody by HTTP."""
