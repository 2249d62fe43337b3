package vppsim

type ipInterface struct{}

func (v *vpp) forgetIP(_ *swInterface)    {}
func (v *vpp) adminRoutes(_ *swInterface) {}
