package traffic_test

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/egress/traffic"
)

// printer is a vault that prints what it gets.
type printer struct{}

func (printer) ReportTraffic(_ context.Context, events []json.RawMessage) (api.TrafficAnswer, error) {
	for _, text := range events {
		var e api.TrafficEvent
		if err := json.Unmarshal(text, &e); err != nil {
			return api.TrafficAnswer{}, err
		}
		fmt.Println(e.Resource, e.Method, e.Host, e.Path, e.StatusCode, e.Effect)
	}
	return api.TrafficAnswer{Recorded: len(events)}, nil
}

func Example() {
	r := traffic.New(traffic.Config{Vault: printer{}})
	r.Record(api.TrafficEvent{Resource: api.Resource{Type: api.Sandbox, ID: "sb_1"}, Host: "api.example.com", Method: "GET", Path: "/v1", StatusCode: 200, Effect: api.EffectAllow})
	ctx, stop := context.WithCancel(context.Background())
	stop()
	r.Run(ctx) // sends what is left
	fmt.Println(r.Waiting())
	// Output:
	// sandbox:sb_1 GET api.example.com /v1 200 allow
	// 0 0
}
