Phones in browsers register and call over WebSocket, plain (`transport = "ws"`) and inside of TLS (`"wss"`), at a path and from web sites of your choice: `pip install 'sipd[ws]'`.
