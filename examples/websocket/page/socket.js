const time = document.getElementById("time");

function connect() {
  const socket = new WebSocket(location.origin.replace(/^http/, "ws") + "/socket");
  socket.onmessage = (event) => { time.value = event.data; };
  socket.onclose = (event) => {
    if (event.code === 1008) {
      time.value = "you have been logged out";
    } else {
      setTimeout(connect, 2000);
    }
  };
}

connect();
