// A chat with a relay as a hook, for React Native and React alike.
//
//     function Chat() {
//       const chat = useChat('wss://api.example.com/chat');
//       return (
//         <View>
//           <Text>{chat.message}</Text>
//           {chat.tool && <Text>runs {chat.tool} …</Text>}
//           {chat.error && <Text>{chat.error}</Text>}
//           {chat.stats && <Text>{chat.stats.latency_ms} ms</Text>}
//           <TextInput onSubmitEditing={({ nativeEvent }) => chat.say(nativeEvent.text)} />
//           <Button title="Stop" onPress={chat.stop} />
//         </View>
//       );
//     }

import { useEffect, useRef, useState } from 'react';
import { listen, reject, send, stop } from './client.js';

export function useChat(address) {
  const socket = useRef(null);
  const [message, setMessage] = useState('');
  const [tool, setTool] = useState(null);
  const [stats, setStats] = useState(null);
  const [error, setError] = useState(null);

  useEffect(() => {
    socket.current = new WebSocket(address);
    listen(socket.current, {
      begin: () => {},
      append: (text) => setMessage((before) => before + text),
      showTool: setTool,
      ask: (call) => reject(socket.current, call.id, 'This app cannot ask its user.'),
      finish: (final) => {
        setTool(null);
        setStats(final);
      },
      showError: setError,
    });
    return () => socket.current.close(); // the relay hangs up on the provider, too
  }, [address]);

  const say = (text) => {
    setMessage('');
    setStats(null);
    setError(null);
    send(socket.current, text);
  };
  return { message, tool, stats, error, say, stop: () => stop(socket.current) };
}
