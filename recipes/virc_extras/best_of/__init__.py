"""The strategy `best_of`: of several answers the one whose solution a judge or a reward grades highest."""
