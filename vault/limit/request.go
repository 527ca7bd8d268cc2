package limit

// RequestLimits limits requests: how many a key, a tenant and all of them send, and how many of them wait for a change.
type RequestLimits struct {
	key, tenant, all      *Rate
	keyWaits, tenantWaits *Places
}

// NewRequestLimits returns the limits of a vault's requests.
func NewRequestLimits(v *Values) *RequestLimits {
	return &RequestLimits{
		key:         NewRate(v, KeyRequests, v.Of(KeyBurst)),
		tenant:      NewRate(v, TenantRequests, v.Of(TenantBurst)),
		all:         NewRate(v, Requests, 0),
		keyWaits:    newPlaces(v, KeyWaits),
		tenantWaits: newShares(v, TenantWaits, Waits),
	}
}

// countedLength is the length of a body or an answer, in bytes, that counts as one request.
const countedLength = 16 << 10

// Take counts a request of a key of a tenant. length is that of its body, in bytes; negative: unknown. Errors: ErrRateLimited.
func (r *RequestLimits) Take(key, tenant string, length int64) error {
	if err := r.key.Take(key, 1); err != nil {
		return err
	}
	if err := r.tenant.Take(tenant, 1+int(max(length, 0)/countedLength)); err != nil {
		return err
	}
	return r.all.Take("", 1)
}

// Transferred counts what an answer, or a body whose length wasn't known, is longer than the shortest ones.
func (r *RequestLimits) Transferred(tenant string, length int) {
	if n := length / countedLength; n > 0 {
		r.tenant.Charge(tenant, n)
	}
}

// Wait takes a place for a waiting reveal, until release. Errors: ErrRateLimited.
func (r *RequestLimits) Wait(key, tenant string) (release func(), err error) {
	ofKey, err := r.keyWaits.Acquire(key)
	if err != nil {
		return nil, err
	}
	ofTenant, err := r.tenantWaits.Acquire(tenant)
	if err != nil {
		ofKey()
		return nil, err
	}
	return func() { ofKey(); ofTenant() }, nil
}

// Waiting returns the number of waiting reveals.
func (r *RequestLimits) Waiting() int { return r.tenantWaits.inUse() }
