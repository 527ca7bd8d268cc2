package oauth

import "encoding/json"

// The types of secrets whose values the vault refreshes.
const (
	TypeAccount = "oauth_connect" // with a refresh token
	TypeMachine = "oauth_machine" // with client credentials; the client's secret takes the place of a refresh token
)

// Connection is the state of a connected account, under "oauth" in a secret's metadata.
type Connection struct {
	Provider string   `json:"provider,omitempty"`
	Scopes   []string `json:"scopes,omitempty"`
	Status   string   `json:"status"`          // api.OAuthConnected, OAuthRetrying or OAuthReconnect
	Error    string   `json:"error,omitempty"` // an error code, the provider's or the vault's
}

// ConnectionOf reads metadata. The owner of a secret may have put anything there: other types than Connection's
// count as absent.
func ConnectionOf(metadata json.RawMessage) (c Connection) {
	var m struct {
		OAuth json.RawMessage `json:"oauth"`
	}
	if json.Unmarshal(metadata, &m) == nil {
		_ = json.Unmarshal(m.OAuth, &c)
	}
	return c
}

// Metadata returns the metadata of a new connection.
func (c Connection) Metadata() json.RawMessage { return encode(map[string]Connection{"oauth": c}) }

// WithStatus returns metadata with another status and error of the connection. code "": no error.
func WithStatus(metadata json.RawMessage, status, code string) json.RawMessage {
	var all, own map[string]json.RawMessage
	_ = json.Unmarshal(metadata, &all)
	_ = json.Unmarshal(all["oauth"], &own)
	if all == nil {
		all = map[string]json.RawMessage{}
	}
	if own == nil {
		own = map[string]json.RawMessage{}
	}
	own["status"] = encode(status)
	delete(own, "error")
	if code != "" {
		own["error"] = encode(code)
	}
	all["oauth"] = encode(own)
	return encode(all)
}

func encode(v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // these types can be encoded
	}
	return text
}
