// The events of a relay, for any page or app: a browser, React Native, Node.
//
//     const socket = new WebSocket('wss://api.example.com/chat');
//     listen(socket, screen);
//     send(socket, 'How is the weather in Bergen?');
//
// A page that does not come from the relay itself has to be listed: Relay(…, origins=['https://app.example.com']).

export function listen(socket, screen) {
  socket.onmessage = ({ data }) => {
    const event = JSON.parse(data);
    switch (event.type) {
      case 'conversation':
        screen.begin(event.conversation_id, event.messages); // keep the id: it resumes the conversation
        break;
      case 'content':
        screen.append(event.content);
        break;
      case 'tool_call':
        screen.showTool(event.tool_call.name);
        break;
      case 'approval':
        screen.ask(event.tool_call);
        break;
      case 'done':
        screen.finish(event.final);
        break;
      case 'error':
        screen.showError(event.error);
        break;
    }
  };
}

const act = (socket, action) => socket.send(JSON.stringify(action));

export const send = (socket, message) => act(socket, { action: 'send_message', message });
export const stop = (socket) => act(socket, { action: 'cancel' });
export const approve = (socket, call_id) => act(socket, { action: 'approve', call_id });
export const reject = (socket, call_id, reason) => act(socket, { action: 'reject', call_id, reason });
export const resume = (socket, conversation_id) => act(socket, { action: 'resume', conversation_id });
