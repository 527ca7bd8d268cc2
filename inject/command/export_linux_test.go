package command

// LimitError is exported for the tests.
type LimitError = limitError
