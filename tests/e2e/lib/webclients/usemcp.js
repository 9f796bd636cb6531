// A page that shows what use-mcp sees of a server.
import { createElement } from 'react';
import { createRoot } from 'react-dom/client';
import { useMcp } from 'use-mcp/react';

const url = new URLSearchParams(location.search).get('server');

function Connection() {
  const { state, tools, error } = useMcp({ url, clientName: 'A page', autoReconnect: false });
  return createElement('output', { 'data-state': state }, error ?? tools.length);
}

createRoot(document.body.appendChild(document.createElement('main'))).render(createElement(Connection));
