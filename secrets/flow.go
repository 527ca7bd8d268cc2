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

// FlowStatus is the status of a flow. Its Status is api.FlowPending, and at the end api.FlowCompleted (with SecretID),
// api.FlowFailed or api.FlowDenied (with Error, and a Message if the vault has one).
type FlowStatus = api.OAuthStatus

// Flow is an account that is being connected. Printing it doesn't show its State.
type Flow struct {
	AuthorizeURL string    // for the user's browser
	State        string    // identifies the flow; to be kept as secret as a key
	Provider     string    // its name
	ExpiresAt    time.Time // when the flow fails if it is still pending; zero: unknown

	vault  *fetch.Client
	wanted Connect
	before map[string]bool // ids of the accounts that were connected when it started; nil: unknown
	told   atomic.Bool     // the vault has returned its status
	listed atomic.Bool     // the vault doesn't: the list of secrets is used
}

// String implements fmt.Stringer.
func (f *Flow) String() string { return "OAuth flow at " + cmp.Or(f.Provider, "a provider") }

// GoString implements fmt.GoStringer.
func (f *Flow) GoString() string { return f.String() }

// Status requests the flow's status. A flow that failed is not an error. With a vault that doesn't return the status of
// flows, such as MIOSA's platform, the flow has completed when the list of secrets has a connected account that it didn't
// have before Connect; a denial isn't noticed.
// Errors: api.ErrNotFound if the vault knows no flow with this State.
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

// WaitOptions configures WaitForCompletion.
type WaitOptions struct {
	Timeout      time.Duration // 0 and below: 5 minutes
	PollInterval time.Duration // 0 and below: 2 seconds
}

// ErrFlowTimeout is the error of a wait that ended before its flow. The flow may still complete.
var ErrFlowTimeout = errors.New("the account wasn't connected in time")

// FlowError is the error of a flow that failed or was denied.
type FlowError struct{ Status FlowStatus }

func (e *FlowError) Error() string {
	what := "connecting an account"
	if e.Status.Provider != "" {
		what += " at " + e.Status.Provider
	}
	outcome := " failed"
	if e.Status.Status == api.FlowDenied {
		outcome = " was denied"
	}
	if why := cmp.Or(e.Status.Message, e.Status.Error); why != "" {
		outcome += ": " + why
	}
	return what + outcome
}

// WaitForCompletion waits for the flow's end. Its error is nil only if the account is connected. Temporary errors of a
// request don't end the wait.
// Errors: *FlowError if the flow failed or was denied; ErrFlowTimeout; api.ErrNotFound and other permanent
// errors; the context's.
func (f *Flow) WaitForCompletion(ctx context.Context, o WaitOptions) (FlowStatus, error) {
	if o.Timeout <= 0 {
		o.Timeout = 5 * time.Minute
	}
	if o.PollInterval <= 0 {
		o.PollInterval = 2 * time.Second
	}
	all, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	var last FlowStatus
	var trouble error // of the last request
	for {
		pause := o.PollInterval
		status, err := f.Status(all)
		switch {
		case err == nil && status.Status == api.FlowCompleted:
			return status, nil
		case err == nil && (status.Status == api.FlowFailed || status.Status == api.FlowDenied):
			status.Provider = cmp.Or(status.Provider, f.Provider)
			return status, &FlowError{status}
		case err == nil: // pending
			last, trouble = status, nil
		case all.Err() != nil: // the wait has ended
		case !api.Temporary(err):
			return last, err
		default:
			trouble, pause = err, max(pause, api.RetryAfter(err))
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
