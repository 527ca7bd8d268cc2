// Package limit has the limits that keep one tenant from taking the whole vault: one table of them, from which settings,
// messages, metrics and documents follow, and the counters that enforce them.
//
// docs/vault.md, "Limits", lists the table.
package limit

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/nearest"
)

// ID identifies a limit: it is its index in the table.
type ID int

// The limits.
const (
	KeyRequests ID = iota
	KeyBurst
	TenantRequests
	TenantBurst
	Requests
	AddressFailures
	TenantWrites
	Writes
	TenantEvents
	Events
	TenantTraffic
	Traffic
	Connections
	TenantConnections
	KeylessConnections
	AddressConnections
	KeyWaits
	TenantWaits
	Waits
	Memory
	TenantMemory
	TenantSecrets
	TenantBindings
	TenantKeys
	TenantFlows
	TenantPolicies
	TenantAllowlist
	TenantBytes
	OAuthRequests
	TenantOAuthRequests
	HostOAuthRequests
	TenantOAuthRate
	count
)

// row is a limit.
type row struct {
	name     string  // in settings, messages and metrics
	fallback float64 // the default, if eighths is 0
	of       ID      // the limit that eighths are of
	eighths  float64 // the default in eighths of another limit's value
	unit     string
	what     string // it limits, for documents
	refusal  string // the message when it refuses a request; "": it refuses none
}

var table = [count]row{
	KeyRequests:    {"key_requests", 100, 0, 0, "a second", "requests of a key, on average", "this key makes too many requests"},
	KeyBurst:       {"key_burst", 200, 0, 0, "at once", "requests of a key at once", ""},
	TenantRequests: {"tenant_requests", 1000, 0, 0, "a second", "requests of a tenant, on average; each 16 KiB of a longer body or answer count as one more", "this tenant makes too many requests"},
	TenantBurst:    {"tenant_burst", 2000, 0, 0, "at once", "requests of a tenant at once", ""},
	Requests:       {"requests", 10000, 0, 0, "a second", "requests of all tenants", "the vault gets too many requests"},

	AddressFailures: {"address_failures", 10, 0, 0, "a second", "requests without a valid key from an address, after ten times as many at once", "too many requests without a good key from this address"},

	TenantWrites: {"tenant_writes", 100, 0, 0, "a second", "changes by a tenant, on average, after ten times as many at once; each 16 KiB of a longer value, and each further key or binding that is changed, count as one more", "this tenant changes too much"},
	Writes:       {"writes", 1000, 0, 0, "a second", "changes by all tenants", "the vault gets too many changes"},
	TenantEvents: {"tenant_events", 300, 0, 0, "a second", "audit events of a tenant (reveals, changes, denied attempts), on average, after ten times as many at once", "this tenant causes too many audit events"},
	Events:       {"events", 3000, 0, 0, "a second", "audit events of all tenants", "too many audit events are to be written"},

	TenantTraffic: {"tenant_traffic", 1000, 0, 0, "a second", "outgoing requests that brokers report for a tenant, on average, after ten times as many at once", "this tenant's brokers report too many requests"},
	Traffic:       {"traffic", 2000, 0, 0, "a second", "outgoing requests that brokers report for all tenants", "too many requests of resources are to be recorded"},

	Connections:        {"connections", 16384, 0, 0, "", "open connections", "the vault has too many connections"},
	TenantConnections:  {"tenant_connections", 0, Connections, 3, "", "open connections of a tenant", "this tenant has too many connections"},
	KeylessConnections: {"keyless_connections", 0, Connections, 2, "", "connections that have not presented a valid key; beyond it the oldest is closed", ""},
	AddressConnections: {"address_connections", 0, Connections, 1, "", "such connections from one address", ""},
	KeyWaits:           {"key_waits", 64, 0, 0, "", "waiting reveals of a key", "too many reveals wait under this key"},
	TenantWaits:        {"tenant_waits", 0, Connections, 2, "", "waiting reveals of a tenant", "too many reveals of this tenant wait"},
	Waits:              {"waits", 0, Connections, 5, "", "waiting reveals", "too many reveals wait"},

	Memory:       {"memory", 128 << 20, 0, 0, "bytes", "memory of bodies and answers in flight; more wait up to 5 seconds", "the vault's memory for requests is in use"},
	TenantMemory: {"tenant_memory", 0, Memory, 4, "bytes", "such memory of a tenant", "this tenant's requests need too much memory at the same time"},

	TenantSecrets:   {"tenant_secrets", 10000, 0, 0, "", "secrets of a tenant", "this tenant has too many secrets: delete some"},
	TenantBindings:  {"tenant_bindings", 20000, 0, 0, "", "bindings of a tenant", "this tenant has too many bindings: delete some"},
	TenantKeys:      {"tenant_keys", 10000, 0, 0, "", "keys of a tenant that are neither revoked nor expired", "this tenant has too many keys: revoke some"},
	TenantFlows:     {"tenant_flows", 1000, 0, 0, "", "pending OAuth flows of a tenant", "this tenant has too many pending OAuth flows: they end when their users return, or expire"},
	TenantPolicies:  {"tenant_policies", 10000, 0, 0, "", "network policies of a tenant", "this tenant has too many policies: delete some"},
	TenantAllowlist: {"tenant_allowlist", 1000, 0, 0, "", "entries of a tenant's allowlist", "this tenant's allowlist has too many entries: delete some"},
	TenantBytes:     {"tenant_bytes", 256 << 20, 0, 0, "bytes", "values, refresh tokens and metadata of a tenant, encrypted", "this tenant stores too much: delete secrets, or store shorter values"},

	OAuthRequests:       {"oauth_requests", 64, 0, 0, "at the same time", "requests to OAuth providers and token URLs at the same time; renewals beyond it wait", "too many requests to OAuth providers and token URLs run"},
	TenantOAuthRequests: {"tenant_oauth_requests", 0, OAuthRequests, 1, "at the same time", "such requests for a tenant", "too many requests to OAuth providers and token URLs run for this tenant"},
	HostOAuthRequests:   {"host_oauth_requests", 0, OAuthRequests, 2, "at the same time", "such requests to a host", "too many requests to this host run"},
	TenantOAuthRate:     {"tenant_oauth_rate", 10, 0, 0, "a second", "such requests for a tenant, on average, after ten times as many at once", "this tenant causes too many requests to OAuth providers and token URLs"},
}

// Values are the values of all limits. Zero is the default.
type Values [count]float64

// Of returns the value of a limit. A part of another limit is at least 1.
func (v *Values) Of(id ID) float64 {
	row := &table[id]
	switch {
	case v[id] != 0:
		return v[id]
	case row.eighths != 0:
		return max(1, float64(int64(v.Of(row.of)*row.eighths/8)))
	}
	return row.fallback
}

// Validate returns every problem at once.
func (v *Values) Validate() error {
	var problems []error
	for id, value := range v {
		if value < 0 || value != value {
			problems = append(problems, fmt.Errorf("limit %s must be more than 0", table[id].name))
		}
	}
	return errors.Join(problems...)
}

// Set sets limits from settings such as "tenant_secrets=500", separated by white space or commas.
func (v *Values) Set(text string) error {
	for _, setting := range strings.FieldsFunc(text, func(c rune) bool { return c == ',' || c == ' ' || c == '\t' || c == '\n' }) {
		name, number, _ := strings.Cut(setting, "=")
		id := slices.IndexFunc(table[:], func(r row) bool { return r.name == name })
		if id < 0 {
			return fmt.Errorf("no limit is called %q%s", name, nearest.OrMeant(nearest.Word(name, Names())))
		}
		value, err := strconv.ParseFloat(number, 64)
		if err != nil || !(value > 0) || value > 1<<52 {
			return fmt.Errorf("%s must be a number of more than 0, as in %s=%.0f", name, name, max(1, v.Of(ID(id))))
		}
		v[id] = value
	}
	return nil
}

// Description is a limit for people.
type Description struct {
	Name    string
	Default string // a number, or a part of another limit
	What    string
}

// Describe describes all limits.
func Describe() []Description {
	all := make([]Description, len(table))
	for id, row := range table {
		all[id] = Description{row.name, strconv.FormatFloat(row.fallback, 'f', -1, 64), row.what}
		if row.eighths != 0 {
			all[id].Default = fmt.Sprint(row.eighths) + "/8 of " + table[row.of].name
		}
	}
	return all
}

// Names returns the names of all limits.
func Names() []string {
	names := make([]string, len(table))
	for id, row := range table {
		names[id] = row.name
	}
	return names
}

func (id ID) String() string { return table[id].name }

// refuse returns the error of what the limit refuses, with the limit's name and value.
func (v *Values) refuse(kind *api.Kind, id ID, wait time.Duration) *api.Error {
	value := strconv.FormatFloat(v.Of(id), 'f', -1, 64)
	e := api.NewError(kind, strings.TrimSpace(table[id].refusal+" (limit "+table[id].name+": "+value+" "+table[id].unit)+")")
	e.Limit, e.RetryAfter = table[id].name, wait
	return e
}

// Refuse returns ErrRateLimited for what a limit refuses now.
func (v *Values) Refuse(id ID, wait time.Duration) *api.Error {
	return v.refuse(api.ErrRateLimited, id, wait)
}

// Check returns ErrInvalid if have is more than a limit of stored objects or bytes.
func (v *Values) Check(id ID, have int64) error {
	if float64(have) <= v.Of(id) {
		return nil
	}
	return v.refuse(api.ErrInvalid, id, 0)
}
