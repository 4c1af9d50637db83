from __future__ import annotations
import numpy as np
from cadenza_remix.metrics.auditory import ear, features
from cadenza_remix.metrics.auditory.cochlea import *
from cadenza_remix.metrics.auditory.front_end import *
from cadenza_remix.metrics.auditory.noise import NormalStream
from cadenza_remix.hearing.nalr import nalr_fir
from cadenza_remix.hearing.audiogram import Audiogram
import scipy.signal
def compute_haaqi(processed, reference, fy, fx, audiogram, equalisation=1, level1=65.0, *, rng=None):
    f=getattr(audiogram,'frequencies_hz',None)
    if f is None: audiogram=Audiogram(audiogram.frequencies, audiogram.levels)
    loss=audiogram.levels_at(AUDIOGRAM_FREQUENCIES_HZ)
    x=to_model_rate(reference,fx); y=to_model_rate(processed,fy)
    n=min(len(x),len(y)); x=x[:n];y=y[:n]
    d=broadband_delay(x,y); span=Span.of(x)
    x=take_early(x,0,span); y=take_early(y,d,span)
    if equalisation==1:
        fir=nalr_fir(Audiogram(AUDIOGRAM_FREQUENCIES_HZ,loss),sample_rate=24000,order=140)
        x=scipy.signal.oaconvolve(x,fir)[140:140+len(span)]
    ey=Cochlea.with_loss(loss); ex=Cochlea.with_loss(loss*0) if equalisation==0 else ey
    noise=NormalStream(rng)
    pair=ear.hear(middle_ear(x),middle_ear(y),ex,ey,level1,noise)
    aud=features.audible_segments(pair.smooth_reference)
    if len(aud)>1: noise.skip(2*32*len(aud))
    noise.finish()
    cep=features.cepstral_correlation(pair.smooth_reference,pair.smooth_processed,aud)
    m=features.spectrum_match(pair.spectrum_reference_db,pair.spectrum_processed_db)
    non=0.754*cep**3+0.246*pair.vibration_covariance
    lin=0.329*m.loudness+0.671*m.balance
    return 0.336*non+0.001*lin+0.501*non**2+0.161*lin**2, non, lin, (cep,pair.vibration_covariance,m.loudness,m.balance)
