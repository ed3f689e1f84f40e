"""The demo guest's letters: the printable ASCII characters of Aileron Regular (CC0) at 14 pixels, each drawn once.

They are kept as pixels, so that every host draws the same ones whatever fonts and libraries it has.
"""

from __future__ import annotations

FIRST = 32
"""Code of the first letter."""
HEIGHT = 15
"""Rows of every letter."""
ADVANCES = bytes.fromhex(
    "03030608090b09030505090903040304080808080808080808080303080808080c090a0a0b09080a0a040809090c0a0b090b0a08"
    "090a090d0908090504040807040809080908040908030307030b0809090904070508070b07070804040508"
)
"""Pixels from each letter to the next. Its cell has one column more on either side."""
COVERAGE = (
    "c-rk)YitzP6+Sbw?_Im&&=!Hgo>XZ>0NYzNRh78dn?H?IVeeL|+9(C@=1-*v43?UzQi<cO`jA2}7^M<Y!efh2T1u2`Q67}i#y|p;w5}a"
    "Uu~B8Oc?8?>Ywfjx@R)w*&SPh76N;cx)%4n$xqI)q=bn4M^SVP+*p|@j_5eLapY7(-lXwPo^}j=$Kn6I;0|jHzxFy{BNFj9;6G!RkTkz"
    "WdS%EN1MW!;W_Mk&SPCC(iLyq54no5mc^d6Z&ZJ1fb3s4de{^$op{;|Jl<Qs{3+KHBqc8W=NJC$j3vXa`#+xH<l-++Lg-u=8rpt?(?KK"
    "&CSrK3kBUDq>IJ-VA{;b?MhnU?ab)#52O`<u+@q0wWae*)q~b$tSTUDrT<OsL2Bx4Qncp(EE#qAHBs5R*&Cy2aulHQ&Fvm1x-rWC1tbT"
    ")hs5Py0HlDowR&WrQjto_<m$nPgmWj}$`Sk9-P*Rbj_(xsxjH1VTA^I|@cjb#k*H-2Ec<ZdsV3s&8h>AVZI;ipgLT1?J}JPSSIa#Utb$"
    "f`E1RA0nx{<W(LYQ)z+;Rz#M!;T1|s1JXXCllL8;Tc(p@*+acOEY;qAKD)F7hZ#`ol6?B=!{+%7oeZe)<ZK8xsTPD0YGepw7?cOqWnH|"
    "uG%fmqk^DZ<8M)i!XRIy{QxPv%H%@EG(?ur;|3M*rn;>a3M0k0&I%h*@4O+kHP9V%Lx?>32;d!<3c}-OHc;>h8pb7edm@EcH?Q`-Egy|"
    "9m(&T#pqub!wN=mqQ<$6^fXM(p#X~L^P1+zHG6ST^(NyfqC!Tv3uqbPtM(5gRxYxln=w!sKkn<(`-Aq=F*mzf2j=L3u8YLfP1WV#*W!8"
    "B1fPq@ePeU@~B))YV(Oj3<XQ?%^@;qWIs9D%fYmJX)DWJXAmPUZuWv~w5{ZRH4#=;aXP?L7{<%|oiBUnOe3-lDpuI*y97sIbW%eqA1Ud"
    "?Z5ARai-_HxlH^b({gK=3x*|U!ca1HAIPoSQ1K71LR$w@TCK3d6M>#lBLffY|IHEw`YfkH7b7{KYSzKf#FJLRAZ(}BX@?JI<(p%0%uRg"
    "82t*zB9i}#$FZoY^o;zJq^S<!c6hLR3LHgdzzT%IJ{G6j*nJaG&6C4FKM5q$KM`ICzbr?vdP*>V&bd8?rEkxIutBqErrPNukDO-b0*hu"
    "7Lc0&uNSAGkG`Ik>jYJ3N)NklCjIaSJ4yNFWq?|Lz_K20<XYv8bf7sti(WCB<z*cKjsWn`mCExx9BB1+DxyDr2b%Z7p!eEMDSN(&$=*Y"
    "r$P`EFW>w35$VG>`{<XmaWlqagfZ}vhjJK91`(nVNURQ16I>7b>Js>n<T-9JO9@ak`HzbJ-Bg|1%{$<wexHCm$1fba=M#nb|E;30Ykk;"
    "<Qf#-^1XQm%#TVWMsrM2!w7IeXtbrsXIH&1^yQ&j__cPk-3{#YtE}AXcez&I5g|W~n(Ua$$<cujGfF5Kf)XTiH3+yF9Z7<4hYDfi#ux%"
    "dn|+J>dcfrAb0o-yml;$QbipVRO6+!D(^AAbUcv52=Uk<9oxb>KL^WU8G=Gnj&u&WrH-qgk>>eFT{o>gfH`Y*ChUU5iAN6n;<tK0hbHn"
    "9CEK5vmr##I*->sI?FX`Y(zAS6+skVKRiQ-f^{<>^nN$NwZtxtd@rm%O7zFDF@ux45Ej?IzCDb(nqvgfmT7+OVb``H^mDY8f#Yhpuaba"
    "MLMShMly??suzI+~+;d;p-hTdRu7@-TmUCqQRr%<cI7W5E0b$(fg|(Vb&x*>%0pZQ5JcO_Kp5d9|hw~6}Ib-)>3nYDix&T6YTY;!iPpZ"
    "ZPTlWu&s*E-Al1a8mu>ThQGH=39AA+hiBP^3?&b7Ke$%NPph)oFe_;E#KWLK8|u*k43;5$J;(;&tsuf0e%g!HznlZqe9Ow=JD<k&MRxj"
    "2bAyf8TU^>GJ;I+u_XosWaa=X1@Rxr`Ykdd>{=r{v5)+UX3W)U1-CAx6;{ia3d5H3N(-8pZJtydvBcjY~`;kdh0jkB)$3D(g+d3)g&Ui"
    "3lbL-W)NFK-xSbkh-&ZFI-}H;rg&mv!>`_p7HK+1X5$2(T8cFZ7zgxtq)PC_|Zi1BQWCnnwY5>SC>f^5S9EMT5cad^v0L7c4if4bQ?Bf"
    "LKrvE6OS8{P6$;S!mJ6QASTx?t4>38veuuZz%Np7K98+nph^ZAMjmpOGc{k`;Vd*mAqf0x^z+bp@Q2wbOJqO@C-T8;J-<FW141s+L^&f"
    "yxt#DB<%|)w0mlXMc9Mi#A&WGa6DG~g({1Hq<shFK>Q{2Pimk^*3Dj?%4E2Xw)Gg8(CxoFC`5h3}YHlw316?*v*$OcuedH)-_-bzV4-n"
    "*wn*8LPFvIc+ARKHC2b#kqedz8tAzW<5TX%A1MTw1pMg-vyp>2VNhmUPW>0&~}#w|_=CpK#{AS@PvG)KO6n^;MB#0>_z-vSmDVRHW^@%"
    "+0eR2s1LX>>yUb5*3J<}1WE`<7~;wMv2)(vWIg_<>6ZHtACzEP$|7T#dw~LX6fk4Ab+@8W5rfZ6U!Y7)7MP5>zVt=AGwq#txr$NaaE7`"
    "Q|^H2$=+#1q_#`NEuME9{rVRCxptCl4l(d7HwU`m8<l=O%ps|%(Q0t0<z4)mixaK{f(qtE;(rNJEYaXmV>WxHt8Tw2j39scP50}tXPgq"
    "@C*p663eq(&RitgasPHa!mDwAJW|@mg#J_RJ|~3P;9(Iz^AOtQOw1-$awxTN8I=Z=KHTO|(MdPLbs2<3zTRwvq3w#z1!0Bp`rad)&&CE"
    "(IA5T3(D0*U!-7cerxgXF3rw(#KUf%7dp;t<r%J0(hZ=jV8sXgAizr#fyDl5Wb-EPwG%giSGRZuXnJBAd=6FclG&p9z#EFjmw0iVCakb"
    "~V8!0SjT2S@quN)96e;yJAS7n<;<INc}Rr#yEILXp6{gUX{tF)2@GWad%W&R#c^2#UtPpEFo62>a)YR{jdW<coaJ%&itcs<4}c0+liZy"
    "{jp95l4M^W*ge5K3ohamERuajBT@<3wT-Q{yml$KPXAhf4;zxoYm9@)Yi;2o+S-Cd9G7&ZxJ%HO^{3=7QSMxIDR=_R8GDmAmB^{^Os@z"
    "IG43k-FGWZr6fgJMn+oo!*XW|Hiey*s1}887^1{?m`VUclW7J>c7Q@rJch~|2v;m14mq!>>n+3FCg4-8&~^(ySGi+F=88}>&m@=u=vQ_"
    "5dI6Hd@3U"
)
"""All cells side by side, row by row, two pixels a byte, 15 for ink; compressed, in base 85."""
