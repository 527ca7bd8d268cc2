package limit

import (
	"time"

	"github.com/Miosa-osa/miosa-env/internal/delay"
)

// returning is how many clients per second a vault that stops asks to come back. Each opens a connection.
const returning = 2000

// StopPause returns a pause to ask for of one of a number of waiting clients when the vault stops: a second if there are few, and
// up to one more for each 2,000 of them, so that they don't all come to another vault at once.
func StopPause(waiting int) time.Duration {
	return (time.Second + delay.Random(time.Duration(waiting)*time.Second/returning)).Truncate(time.Second)
}
