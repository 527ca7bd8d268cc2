package cache

var ErrDamaged, ErrForeign, ErrOld, ErrFuture, ErrUnsafe = errDamaged, errForeign, errOld, errFuture, errUnsafe
