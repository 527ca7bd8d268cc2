package fetch

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/Miosa-osa/miosa-env/api"
)

// ReportTraffic reports requests that a broker has seen: api.TrafficEvents in JSON, at most api.MaxTrafficEvents and about
// api.MaxTrafficBody bytes of them. It sends one request, and the caller sends it again after an error: what the vault has
// recorded, it doesn't record again.
// Errors: api.ErrInvalid and api.ErrTooLarge if it never takes this.
func (c *Client) ReportTraffic(ctx context.Context, events []json.RawMessage) (api.TrafficAnswer, error) {
	body := struct {
		Events []json.RawMessage `json:"events"`
	}{events}
	return do(ctx, c, call{method: http.MethodPost, path: "/egress/traffic", json: body, once: true}, func(body []byte) (a api.TrafficAnswer, err error) {
		if err := json.Unmarshal(unwrap(body, "data"), &a); err != nil {
			return a, notContract(body)
		}
		return a, nil
	})
}
