// The explorer: GraphiQL, and a place for the token. The token is kept in this window only, and never stored.
'use strict';

const url = document.body.dataset.url;
const make = React.createElement;

const FIRST = `# Give a token above. Ctrl-Space completes, Ctrl-Enter runs.
# The schema is read with the token: a name's meaning shows when the pointer rests on it.
query Schools {
  schools(first: 10) {
    totalCount
    nodes {
      sourcedId
      name
      classes(first: 5) {
        nodes {
          title
        }
      }
    }
  }
}
`;

function Explorer() {
  const [token, setToken] = React.useState('');
  const [used, setUsed] = React.useState('');
  // A new token is a new schema request, so the explorer begins anew; what was typed is kept by its storage.
  const fetcher = React.useMemo(() => {
    const headers = used ? { Authorization: `Bearer ${used}` } : {};
    return GraphiQL.createFetcher({ url, headers });
  }, [used]);
  const bar = make(
    'form',
    {
      className: 'token',
      onSubmit: (event) => {
        event.preventDefault();
        setUsed(token.trim());
      },
    },
    make('label', { htmlFor: 'token' }, 'Bearer token'),
    make('input', {
      id: 'token',
      type: 'password',
      autoComplete: 'off',
      placeholder: 'API key or access token',
      value: token,
      onChange: (event) => setToken(event.target.value),
      onBlur: () => setUsed(token.trim()),
    }),
    make('button', { type: 'submit' }, 'Use'),
    make('small', null, used ? 'sent with every request' : 'none yet: every request is refused'),
  );
  const graphiql = make(GraphiQL, {
    key: used,
    fetcher,
    defaultQuery: FIRST,
    defaultEditorToolsVisibility: true,
    shouldPersistHeaders: false,
  });
  return make(React.Fragment, null, bar, make('div', null, graphiql));
}

ReactDOM.createRoot(document.getElementById('explorer')).render(make(Explorer));
