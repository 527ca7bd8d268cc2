package simulation

import "time"

// measured are the costs of operations on the machine of docs/benchmarks.md, where docs/scale.md says how they were measured.
var measured = Costs{
	Handshake: 350 * time.Microsecond,
	Request:   160 * time.Microsecond,
	Reveal:    460 * time.Microsecond,
	Read:      110 * time.Microsecond,
	Event:     550 * time.Microsecond,
}

// million is a million agents, and what they need.
func million() *Model {
	return &Model{
		Agents: 1_000_000, PerReplica: 6_000, PerDatabase: 80_000, Cores: 2, DatabaseCores: 8, Costs: measured,
		Limits: "connections=32768 tenant_connections=16384 address_connections=8192 tenant_waits=10240 tenant_requests=10000 tenant_burst=100000 tenant_events=3000",
	}
}

// sized returns the model for fewer agents, on as much less hardware.
func (m *Model) sized(agents int) *Model {
	other := *m
	other.Agents = agents
	return &other
}
