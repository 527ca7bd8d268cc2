package doctor

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/broker"
	"github.com/Miosa-osa/miosa-env/internal/cli"
)

// broker checks the broker that the commands of run send their requests through, if there is one.
func (d *doctor) broker(ctx context.Context) {
	b, err := broker.Of(&d.Settings)
	if err != nil {
		d.failed("broker", err, "")
	}
	if b == nil {
		return
	}
	d.direct()
	found, err := b.Ask(ctx)
	if err != nil {
		d.failed("broker", err, "")
		return
	}
	other := found.CheckResource(b, d.resource())
	switch soon := time.Until(found.Authority.NotAfter) < expiryWarned; {
	case other != nil:
		d.failed("broker", other, "")
	case found.NoSet:
		d.fail("broker", "the broker at "+b.Address()+" has no values: it refuses every request", "miosa-egress status says why, on the broker's machine")
	case soon:
		d.warn("broker", found.Describe(b)+", which is soon", "remove the broker's ca_key_file, and restart it")
	default:
		d.ok("broker", found.Describe(b))
	}
	if found.SameMachine {
		d.warn("broker", broker.Cooperative, "run miosa-egress outside of this sandbox, or keep secrets from root by other means")
	}
}

// direct warns of hosts to which programs send requests without the broker. Which of them secrets are for, only the broker knows.
func (d *doctor) direct() {
	direct := broker.Direct(d.Environ.Get)
	if len(direct) == 0 {
		return
	}
	to := cli.OneLine(strings.Join(direct, ", "))
	if slices.Contains(direct, "*") {
		to = "all hosts"
	}
	d.warn("broker", "requests to "+to+" go around it, because of NO_PROXY: servers there get placeholders", "take the hosts that secrets are for out of NO_PROXY and no_proxy")
}

// resource returns the resource whose values run would use, as TYPE:ID, or "" if that isn't known.
func (d *doctor) resource() string {
	if d.visited != nil {
		return d.visited.resource.String()
	}
	if d.local.meant(&d.Settings) {
		return d.local.Resource.String()
	}
	return ""
}
