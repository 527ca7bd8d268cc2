package secrets

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/internal/delay"
)

// FlowStatus tells how a flow is going: its Status is api.FlowPending, or at the end api.FlowCompleted
// (with SecretID), api.FlowFailed or api.FlowDenied (with Error, and where the vault has one a Message).
type FlowStatus = api.OAuthStatus

// Flow is an account that is being connected. Printing it doesn't show its State.
type Flow struct {
	AuthorizeURL string    // what the user is to open
	State        string    // names the flow; keep it like a key
	Provider     string    // where
	ExpiresAt    time.Time // when it ends by itself, as failed; zero where the vault doesn't say

	vault  *fetch.Client
	wanted Connect
	before map[string]bool // ids of the accounts that were connected when it began; nil: not known
	told   atomic.Bool     // the vault has told how it is going
	listed atomic.Bool     // the vault doesn't tell: the list of secrets does
}

// String implements fmt.Stringer.
func (f *Flow) String() string { return "OAuth flow at " + cmp.Or(f.Provider, "a provider") }

// GoString implements fmt.GoStringer.
func (f *Flow) GoString() string { return f.String() }

// Status asks once how the flow is going. A flow that failed is no error here. A vault that doesn't tell, as
// MIOSA's platform, is asked for the list of secrets instead: the flow has completed when there is a
// connected account that wasn't there when Connect began it. A denial isn't seen there.
// Errors: api.ErrNotFound where the vault knows no flow with this State.
func (f *Flow) Status(ctx context.Context) (FlowStatus, error) {
	if f.listed.Load() {
		return f.fromList(ctx)
	}
	status, err := f.vault.OAuthStatus(ctx, f.State)
	switch {
	case err == nil:
		f.told.Store(true)
	case f.before != nil && !f.told.Load() && (errors.Is(err, api.ErrNotFound) || errors.Is(err, api.ErrMethod)):
		f.listed.Store(true)
		return f.fromList(ctx)
	}
	return status, err
}

// WaitOptions says how long to wait for a flow's end, and how often to ask.
type WaitOptions struct {
	Timeout      time.Duration // zero and below mean 5 minutes
	PollInterval time.Duration // zero and below mean 2 seconds
}

func (o WaitOptions) timeout() time.Duration {
	if o.Timeout <= 0 {
		return 5 * time.Minute
	}
	return o.Timeout
}

func (o WaitOptions) pollInterval() time.Duration {
	if o.PollInterval <= 0 {
		return 2 * time.Second
	}
	return o.PollInterval
}

// ErrFlowTimeout says that a flow hadn't ended when the wait for it did. It may still complete.
var ErrFlowTimeout = errors.New("the account wasn't connected in time")

// FlowError says that a flow ended without a connection.
type FlowError struct{ Status FlowStatus }

func (e *FlowError) Error() string {
	what := "connecting an account"
	if e.Status.Provider != "" {
		what += " at " + e.Status.Provider
	}
	if e.Status.Status == api.FlowDenied {
		what += " was denied"
	} else {
		what += " failed"
	}
	if why := cmp.Or(e.Status.Message, e.Status.Error); why != "" {
		what += ": " + why
	}
	return what
}

// WaitForCompletion waits for the flow's end. Its error is nil only where the account is connected.
// A poll that fails in a way that may pass doesn't end the wait.
// Errors: *FlowError where the flow failed or was denied; ErrFlowTimeout; api.ErrNotFound and others
// that don't pass; the context's.
func (f *Flow) WaitForCompletion(ctx context.Context, o WaitOptions) (FlowStatus, error) {
	all, cancel := context.WithTimeout(ctx, o.timeout())
	defer cancel()
	var last FlowStatus
	var trouble error // of the last poll
	for {
		pause := o.pollInterval()
		status, err := f.Status(all)
		switch {
		case err == nil && status.Status == api.FlowCompleted:
			return status, nil
		case err == nil && (status.Status == api.FlowFailed || status.Status == api.FlowDenied):
			status.Provider = cmp.Or(status.Provider, f.Provider)
			return status, &FlowError{status}
		case err == nil: // pending
			last, trouble = status, nil
		case all.Err() != nil: // the error is that of the wait's end
		case !api.Temporary(err):
			return last, err
		default:
			trouble = err
			if refusal, ok := errors.AsType[*api.Error](err); ok {
				pause = max(pause, refusal.RetryAfter)
			}
		}
		if delay.Sleep(all, pause) == nil {
			continue
		}
		switch {
		case ctx.Err() != nil:
			return last, ctx.Err()
		case trouble != nil:
			return last, fmt.Errorf("%w: %w", ErrFlowTimeout, trouble)
		}
		return last, ErrFlowTimeout
	}
}
