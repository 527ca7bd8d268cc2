package fetch

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/cenkalti/backoff/v4"
)

// maxRetryAfter is the longest a vault is believed to mean, so that no arithmetic overflows.
const maxRetryAfter = 10 * 365 * 24 * time.Hour

// patience gives the pauses of one call: growing, randomised, within a budget, and never shorter
// than the vault asked.
type patience struct {
	backoff.BackOff
	end   time.Time
	asked time.Duration
}

func newPatience(budget time.Duration) *patience {
	return &patience{end: time.Now().Add(budget), BackOff: backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(100*time.Millisecond),
		backoff.WithMultiplier(2),
		backoff.WithMaxInterval(2*time.Second),
		backoff.WithMaxElapsedTime(budget),
	)}
}

// ask notes what a refusal asked for.
func (p *patience) ask(err error) {
	p.asked = 0
	if refusal, ok := errors.AsType[*api.Error](err); ok {
		p.asked = refusal.RetryAfter
	}
}

// NextBackOff implements backoff.BackOff. What was asked for is only added to: subtracting jitter
// would come too early, and none would bring everyone back at once.
func (p *patience) NextBackOff() time.Duration {
	next := p.BackOff.NextBackOff()
	if next == backoff.Stop || time.Now().Add(p.asked+next).After(p.end) {
		return backoff.Stop
	}
	return p.asked + next
}

// retryAfter reads the header in either form. A date is measured against the answer's own Date: the
// two clocks may differ by years. Zero: not said, or garbage.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if text == "" {
		return 0
	}
	if strings.Trim(text, "0123456789") == "" {
		seconds, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return maxRetryAfter // more digits than fit
		}
		return duration(float64(seconds))
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	return duration(at.Sub(now).Seconds())
}

// duration is a number of seconds that came from outside, from 0 to maxRetryAfter.
func duration(seconds float64) time.Duration {
	switch {
	case !(seconds > 0): // NaN too
		return 0
	case seconds >= maxRetryAfter.Seconds():
		return maxRetryAfter
	}
	return time.Duration(seconds * float64(time.Second))
}
